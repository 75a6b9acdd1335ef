export { StartError } from './errors.ts';
export type { JsonSchema } from './jsonSchema.ts';
export { type Catalogue, loadRegistry, Registry } from './registry.ts';
export { type RunError, type Snapshot, TaskStatus } from './run.ts';
export type { InputSchema } from './schema.ts';
export {
  type DefinedState,
  type DefinedTask,
  defineState,
  defineTask,
  MonitorState,
  monitoredBackgroundTask,
  type StateDefinition,
  type StateLike,
  type TaskContext,
  type TaskDefinition,
  type TaskUpdate,
} from './task.ts';
export { FatalError, RetryError } from './taskError.ts';
export type { RetryOptions, ScheduleOptions, TaskOptions, UniqueOptions } from './taskOptions.ts';
