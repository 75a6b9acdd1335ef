/**
 * One message on its way to whoever watches: made into text once, and framed once for each kind of connection.
 */
import {
  eventMessage,
  gapMessage,
  isTerminal,
  positionMessage,
  type RunEvent,
  type Snapshot,
  type Standing,
  snapshotMessage,
} from './run.ts';

/** How a kind of connection wraps a message's JSON text. */
export interface Framing {
  readonly name: 'websocket' | 'events';
  /** `seq`: the number that the message has among its run's events; null for one that is no event. */
  frame(json: string, seq: number | null): Buffer;
}

export class Message {
  readonly event: RunEvent;
  #frames: Map<Framing, Buffer> | undefined;

  constructor(event: RunEvent) {
    this.event = event;
  }

  get seq(): number {
    return this.event.snapshot.seq;
  }

  get isTerminal(): boolean {
    return isTerminal(this.event.snapshot.status);
  }

  /** What it holds of memory beyond its event; 0 until somebody was sent it. */
  get framedBytes(): number {
    let bytes = 0;
    for (const frame of this.#frames?.values() ?? []) bytes += frame.length;
    return bytes;
  }

  framed(framing: Framing): Buffer {
    this.#frames ??= new Map();
    let frame = this.#frames.get(framing);
    if (!frame) {
      frame = framing.frame(eventMessage(this.event), this.seq);
      this.#frames.set(framing, frame);
    }
    return frame;
  }
}

/** Where a run stands that waits: no event, so it has no number, and nobody is told of it later. */
export class PositionMessage {
  readonly id: string;
  /** Tells it apart from one that says something else. */
  readonly text: string;
  readonly #frames = new Map<Framing, Buffer>();

  constructor(id: string, standing: Standing) {
    this.id = id;
    this.text = positionMessage(id, standing);
  }

  framed(framing: Framing): Buffer {
    let frame = this.#frames.get(framing);
    if (!frame) {
      frame = framing.frame(this.text, null);
      this.#frames.set(framing, frame);
    }
    return frame;
  }
}

/** What stands for messages that were passed over: one `gap`, then where the run stands. A terminal message is never replaced. */
export function gapFrames(framing: Framing, missed: number, snapshot: Snapshot): Buffer[] {
  const json = isTerminal(snapshot.status)
    ? eventMessage({ kind: 'update', snapshot, client: null })
    : snapshotMessage(snapshot);
  return [
    framing.frame(gapMessage(snapshot.task_id, missed, snapshot.seq), null),
    framing.frame(json, snapshot.seq),
  ];
}
