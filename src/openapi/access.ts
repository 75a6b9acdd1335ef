/**
 * The two ways to a state's runs, as far as they differ in the document.
 */
import type { ParameterName } from './parameters.ts';

export interface Access {
  /** Whether runs belong to a client token, which can then have all of its runs listed and watched. */
  readonly withToken: boolean;
  /** What stands behind the name of a state, below `/api` and `/ws`. */
  readonly base: string;
  /** What stands between that and the id of a run to watch. */
  readonly watch: string;
  /** Begins an operationId. */
  readonly idPrefix: string;
  /** What a run is to the caller. */
  readonly aRun: string;
  /** What stands in every address. */
  readonly parameters: readonly ParameterName[];
}

/** For whoever knows a run's id. */
export const directAccess: Access = {
  withToken: false,
  base: '/task',
  watch: '/ws',
  idPrefix: '',
  aRun: 'a run',
  parameters: [],
};

/** For whoever has a client token: runs that were started with it are seen with it only. */
export const tokenAccess: Access = {
  withToken: true,
  base: '/tasks/{client_token}',
  watch: '',
  idPrefix: 'client_',
  aRun: 'one of your runs',
  parameters: ['ClientToken'],
};
