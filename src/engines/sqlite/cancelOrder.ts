/**
 * What an admin wants to be cancelled, given from outside of the server.
 */
import type { Match } from '../../engine.ts';

/** Which runs the store is to cancel. */
export interface BoundedMatch extends Match {
  /** Only those accepted up to this one, by their number. Default: all. */
  upTo?: number;
}

export interface CancelOrder {
  id: number;
  match: BoundedMatch;
}
