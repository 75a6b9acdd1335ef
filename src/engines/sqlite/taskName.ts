/**
 * What a task is called among those of all states. Names that stand in URLs have no slash; what comes before it is the state's own.
 */

export function fullName(state: string, task: string): string {
  return `${state}/${task}`;
}
