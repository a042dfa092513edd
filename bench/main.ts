/**
 * `npm run bench`: what Skein does beside its peers, in one run on this machine. `--quick` runs a twentieth of each load,
 * to see that the benchmark works; its figures mean nothing. `npm run bench -- mvcc [KEYS]`: the versioned store alone.
 */
import { benchEtcd } from './etcd.ts'
import { benchMvcc } from './mvcc.ts'

const [what, count] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
if (what === 'mvcc') await benchMvcc(Number(count ?? 10_000_000))
else await benchEtcd(process.argv.includes('--quick'))
