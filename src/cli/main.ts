#!/usr/bin/env node
// The `skein` command's process: its words in, its exit code out, once all that it said is delivered.
import { runCommandLine } from './index.ts'
import { flushed, ignoreClosedPipes } from './output.ts'

ignoreClosedPipes()
const code = await runCommandLine(process.argv.slice(2))
await flushed()
process.exit(code)
