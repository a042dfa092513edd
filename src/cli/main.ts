#!/usr/bin/env node
// The `skein` command's process: its words in, its exit code out.
import { runCommandLine } from './index.ts'
import { ignoreClosedPipes } from './output.ts'

ignoreClosedPipes()
const code = await runCommandLine(process.argv.slice(2))
process.exit(code)
