/**
 * `npm run bench`: what Skein does beside its peers, in one run on this machine. `--quick` runs a twentieth of each load,
 * to see that the benchmark works; its figures mean nothing.
 */
import { benchEtcd } from './etcd.ts'

await benchEtcd(process.argv.includes('--quick'))
