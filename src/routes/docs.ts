/**
 * The OpenAPI document of what is served, and Swagger UI to read it and to try it out. Nothing is fetched from elsewhere.
 */
import { createRequire } from 'node:module';
import helmet from '@fastify/helmet';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { directIsOn } from '../config.ts';
import { openApiDocument } from '../openapi.ts';
import type { RouteParts } from './parts.ts';

/** Serves `/docs`, `/docs/json` and `/docs/yaml`. `app` must be a scope of its own: its other routes would get the policy too. */
export async function docsRoutes(
  app: FastifyInstance,
  { registry, config }: Pick<RouteParts, 'registry' | 'config'>,
): Promise<void> {
  const document = openApiDocument(registry, { direct: directIsOn(config), version: packageVersion() });
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: policy },
    referrerPolicy: { policy: 'no-referrer' },
    // Whether this host is to be reached by HTTPS only is not for a page on it to say.
    strictTransportSecurity: false,
    xFrameOptions: { action: 'deny' },
  });
  await app.register(swagger, { mode: 'static', specification: { document: document as never } });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    theme: { title: document.info.title },
    uiConfig: {
      layout: 'BaseLayout',
      deepLinking: true,
      displayOperationId: false,
      displayRequestDuration: true,
      tryItOutEnabled: true,
      defaultModelExpandDepth: 3,
    },
  });
}

const policy = {
  defaultSrc: ["'none'"],
  scriptSrc: ["'self'"],
  styleSrc: ["'self'"],
  imgSrc: ["'self'", 'data:'],
  connectSrc: ["'self'"],
  frameAncestors: ["'none'"],
  baseUri: ["'none'"],
  formAction: ["'none'"],
};

function packageVersion(): string {
  return createRequire(import.meta.url)('../../package.json').version;
}
