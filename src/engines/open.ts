/**
 * Turns a config into an engine and its stores: the only place that names the engines, so that each is loaded only when
 * it is asked for.
 */
import type { AdminStore } from '../admin.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { Engine, EngineLog } from '../engine.ts';
import type { Policies } from '../policy.ts';
import type { TokenStore } from '../token.ts';

export interface OpenEngine {
  /** Cold: nothing is opened before `engine.open()`. */
  engine: Engine;
  /** Filled once the engine is open. */
  tokens: TokenStore;
}

export async function openEngine(
  config: Config,
  parts: { clock: Clock; log: EngineLog; policies: Policies },
): Promise<OpenEngine> {
  const { SqliteEngine } = await import('./sqlite/engine.ts');
  const engine = new SqliteEngine(config, parts);
  return { engine, tokens: engine.tokens };
}

/** The tokens alone, beside a server that may be running on the same data: for the `token` commands. */
export async function openTokens(config: Pick<Config, 'data'>): Promise<TokenStore & { close(): void }> {
  const { SqliteTokens } = await import('./sqlite/tokens.ts');
  return SqliteTokens.open(config.data);
}

/** What an admin decides, likewise: for `pause`, `drain` and `resume`. Throws a `StartError` where there is no data. */
export async function openAdmin(config: Pick<Config, 'data'>): Promise<AdminStore> {
  const { SqliteAdminStore } = await import('./sqlite/adminStore.ts');
  return SqliteAdminStore.open(config.data);
}
