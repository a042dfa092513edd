/**
 * cli: the `skein` command. Starts and supervises servers, and speaks with a cluster from a shell.
 *
 * Promises: (1) results on stdout, progress and errors on stderr, exit codes that are never renumbered; (2) every error
 * says what happened and one way to mend it; (3) no server outlives its supervisor, and a supervisor that is asked to
 * stop has ended everything within two seconds; (4) a server that ended is only started again when somebody asks.
 * Never: contains behaviour of a server; it joins the library to a process, its signals and its terminal.
 * Source: the issue "Five servers that act as one", parts 8 and 9.
 */
export { runCommandLine } from './dispatch.ts'
