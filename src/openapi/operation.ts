/**
 * What an operation is made of.
 */
import type { ParameterRef } from './parameters.ts';
import type { Responses } from './responses.ts';

/** An operation object of the document. */
export interface Operation {
  operationId: string;
  tags: string[];
  summary: string;
  description: string;
  parameters?: ParameterRef[];
  requestBody?: { required: boolean; description: string; content: Record<string, object> };
  responses: Responses;
}

/** Operations by their address, each with the one method that it takes. */
export type Paths = Record<string, { get: Operation } | { post: Operation }>;
