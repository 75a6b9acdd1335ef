/**
 * Which runs a list, or a cancel of many, means: in terms that an index answers.
 */
import type { BoundedMatch } from './cancelOrder.ts';
import type { SqlValue } from './driver.ts';
import type { ReadOperation } from './protocol.ts';

export function selection(query: Extract<ReadOperation, { op: 'list' }>): {
  where: string;
  params: SqlValue[];
  order: string;
} {
  const { client, state, before, active, endedSince } = query;
  if (endedSince !== undefined) {
    return {
      where: 'status >= 3 AND client = ? AND state = ? AND at >= ?',
      params: [client, state, endedSince],
      order: 'at DESC',
    };
  }
  const whose = active
    ? 'status < 3 AND status IN (0, 1, 2) AND client IS ? AND state = ?'
    : 'client = ? AND state = ?';
  if (before === undefined) return { where: whose, params: [client, state], order: 'n DESC' };
  return {
    where: `${whose} AND n < (SELECT n FROM runs WHERE id = ? AND client IS ? AND state = ?)`,
    params: [client, state, before, client, state],
    order: 'n DESC',
  };
}

/** The condition that a run is among those that an admin means, whatever its status. */
export function matching({ state, task, client, upTo }: BoundedMatch): { where: string; params: SqlValue[] } {
  const conditions: string[] = ['1'];
  const params: SqlValue[] = [];
  for (const [column, value] of Object.entries({ state, task, client })) {
    if (value === undefined) continue;
    conditions.push(`${column} IS ?`);
    params.push(value);
  }
  if (upTo !== undefined) {
    conditions.push('n <= ?');
    params.push(upTo);
  }
  return { where: conditions.join(' AND '), params };
}
