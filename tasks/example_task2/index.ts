import { MonitorState, monitoredBackgroundTask, type TaskContext, TaskStatus } from 'spyglass-tasks';
import { z } from 'zod';

const InputArgs = z.object({ name: z.string(), age: z.number().int() });
type InputArgs = z.output<typeof InputArgs>;

export class ExampleTaskState2 extends MonitorState {
  @monitoredBackgroundTask({ description: 'Background task that updates progress.' })
  static async task1(task: TaskContext) {
    for (let i = 0; i < 3; i++) {
      await task.update({ progress: (i + 1) * 33, status: TaskStatus.PROCESSING });
      await task.sleep(500);
    }
    return '<Task1 Result>';
  }

  @monitoredBackgroundTask({
    description: 'Background task that updates progress with input arguments.',
    input: InputArgs.default({ name: 'MATT', age: 25 }),
  })
  static async task2_with_args(task: TaskContext, args: InputArgs) {
    for (let i = 0; i < 10; i++) {
      await task.update({ progress: (i + 1) * 10, status: TaskStatus.PROCESSING });
      await task.sleep(500);
    }
    return `Completed task for ${args.name}, age ${args.age}`;
  }
}
