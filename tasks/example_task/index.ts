import { MonitorState, monitoredBackgroundTask, type TaskContext, TaskStatus } from 'spyglass-tasks';

export class ExampleTaskState extends MonitorState {
  @monitoredBackgroundTask({ description: 'Takes ten steps of half a second each and says where it is.' })
  static async example_task(task: TaskContext) {
    const steps = 10;
    for (let step = 1; step <= steps; step++) {
      await task.sleep(500);
      await task.update({
        progress: step * 10,
        status: TaskStatus.PROCESSING,
        message: `step ${step} of ${steps}`,
      });
    }
    return `Completed ${steps} steps`;
  }
}
