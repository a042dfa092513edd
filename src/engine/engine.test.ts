import { engineSuite } from './engine.testkit.ts'
import { lmdbBench, memoryBench } from './bench.testkit.ts'

engineSuite('memory', () => memoryBench('suite'))
engineSuite('lmdb', () => lmdbBench())
