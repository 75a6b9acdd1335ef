/**
 * Every setting once: its flag, its environment name, its default and what it means.
 */
export interface Config {
  /** Folder of the task files. */
  folder: string;
  /** `localhost` binds both loopback addresses. */
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** Folder of the database; made when missing. */
  data: string;
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  logFormat: 'pretty' | 'json';
  /** Whether the direct routes exist; undefined: not said, which a public address refuses. */
  direct: boolean | undefined;
  allowHost: string[];
  allowOrigin: string[];
  /** Starts a second for each IP, and for each token; 0: none. undefined: none on loopback, else 100. */
  rateLimit: number | undefined;
  /** How long running attempts may go on after SIGTERM. */
  graceMs: number;
  /** Attempts at once. */
  concurrency: number;
  /** Finished runs are kept so long at the most. */
  keepMs: number;
  /** This many finished runs are kept at the most. */
  keepRuns: number;
}
