/**
 * Preloaded (`node --import`) into the server under test, which is otherwise the command line as it is shipped: lets the
 * harness ask what the process used. JavaScript, so that no loader has to come with it. Speaks the protocol of `calls.ts`.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

const delay = monitorEventLoopDelay({ resolution: 10 });

const functions = {
  /** Microseconds of CPU, user and system, of all threads. */
  cpuMicros() {
    const { user, system } = process.cpuUsage();
    return user + system;
  },
  watchDelay() {
    delay.reset();
    delay.enable();
  },
  /** Milliseconds since `watchDelay`. */
  delay() {
    delay.disable();
    return { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 };
  },
  collectGarbage() {
    globalThis.gc();
  },
};

process.on('message', ({ ticket, name }) => process.send({ ticket, value: functions[name]() }));
process.channel?.unref();
