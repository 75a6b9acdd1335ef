/** An engine that runs one attempt at a time, each for as long as the test says: to see who goes before whom. */
import { DrivenClock } from '../fixtures/drivenClock.ts';
import { Bench, type EngineFactory, type EngineSettings, Gate, type RequestOptions } from './harness.ts';

export class OneByOne {
  readonly bench: Bench;
  readonly clock: DrivenClock;
  readonly #gate: Gate;
  #ended = 0;

  private constructor(bench: Bench, gate: Gate, clock: DrivenClock) {
    this.bench = bench;
    this.#gate = gate;
    this.clock = clock;
  }

  /** With a run at work, so that all others wait. */
  static async open(factory: EngineFactory, settings: Partial<EngineSettings> = {}): Promise<OneByOne> {
    const clock = new DrivenClock();
    const gate = new Gate();
    const bench = await Bench.open(factory.home(), gate.execute, { clock, concurrency: 1, ...settings });
    await bench.start('first', { client: 'nobody else' });
    await gate.leasedCount(1);
    return new OneByOne(bench, gate, clock);
  }

  /** Starts a run that is known by `name`. */
  async start(name: string, options: RequestOptions = {}, task = 'ok'): Promise<string> {
    return (await this.bench.start(task, { ...options, input: name })).snapshot.task_id;
  }

  /** Starts many in one batch, known by their places: `name 1`, `name 2`. */
  async startMany(count: number, name: string, options: RequestOptions = {}, task = 'ok'): Promise<string[]> {
    const requests = Array.from({ length: count }, (_, place) =>
      this.bench.request(task, { ...options, input: `${name} ${place + 1}` }),
    );
    return (await this.bench.startAll(requests)).map(({ snapshot }) => snapshot.task_id);
  }

  /** Ends the run at work: the name of the one that begins then. */
  async next(): Promise<string> {
    const atWork = this.#gate.leased[this.#ended++];
    this.#gate.end(atWork?.id as string);
    await this.#gate.leasedCount(this.#ended + 1);
    return JSON.parse(this.#gate.leased[this.#ended]?.input ?? 'null');
  }

  /** The names of the next that begin, in order. */
  async inOrder(count: number): Promise<string[]> {
    const names: string[] = [];
    while (names.length < count) names.push(await this.next());
    return names;
  }
}
