/**
 * What a process asked of the kernel, in order, as `strace -f -o` wrote it down.
 */

export interface SystemCall {
  name: string;
  /** The file descriptor it was about. */
  descriptor: number;
  /** All that strace shows of its arguments. */
  text: string;
  /** Places in the order of everything that happened, in all threads: when it was asked for, and when it was done. */
  from: number;
  to: number;
  result: string;
}

/** Calls of all threads whose first argument is a file descriptor, in the order in which they were asked for. */
export function readSystemCalls(trace: string): SystemCall[] {
  const calls: SystemCall[] = [];
  /** By thread: a call that another thread's came in between. */
  const unfinished = new Map<string, SystemCall>();
  for (const [place, line] of trace.split('\n').entries()) {
    const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const resumed = /^<\.\.\. \w+ resumed>.*= (\S+)/.exec(rest);
    if (resumed) {
      const call = unfinished.get(thread);
      if (call) Object.assign(call, { to: place, result: resumed[1] });
      unfinished.delete(thread);
      continue;
    }
    const [, name, descriptor] = /^(\w+)\((\d+)/.exec(rest) ?? [];
    if (name === undefined) continue;
    const call = { name, descriptor: Number(descriptor), text: rest, from: place, to: place, result: '' };
    calls.push(call);
    if (rest.endsWith('<unfinished ...>')) {
      call.to = Number.POSITIVE_INFINITY;
      unfinished.set(thread, call);
    } else call.result = /= (\S+)[^=]*$/.exec(rest)?.[1] ?? '';
  }
  return calls;
}
