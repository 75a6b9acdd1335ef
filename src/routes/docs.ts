/**
 * The OpenAPI document of what is served, and Swagger UI to read it and to try it out. Nothing comes from elsewhere.
 */
import helmet from '@fastify/helmet';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { directIsOn } from '../config.ts';
import { RequestError, shown } from '../errors.ts';
import { openApiDocument } from '../openapi.ts';
import { packageVersion } from '../version.ts';
import type { RouteParts } from './parts.ts';

/** Serves `/docs`, `/docs/json` and `/docs/yaml`. `app` is a scope of its own: whatever is in it gets the page's policy. */
export async function docsRoutes(
  app: FastifyInstance,
  { registry, config }: Pick<RouteParts, 'registry' | 'config'>,
): Promise<void> {
  const document = openApiDocument(registry, { direct: directIsOn(config), version: packageVersion() });
  app.addHook('onRequest', requireAsset);
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: policy },
    referrerPolicy: { policy: 'no-referrer' },
    xFrameOptions: { action: 'deny' },
    // Whether this host is for HTTPS only is not for one page on it to say.
    strictTransportSecurity: false,
  });
  // The plugin's type is of another package's making; a linter proves the document in a test.
  await app.register(swagger, { mode: 'static', specification: { document: document as never } });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    theme: { title: document.info.title, css: [{ filename: 'spyglass.css', content: styles }] },
    uiConfig: {
      layout: 'BaseLayout',
      deepLinking: true,
      tryItOutEnabled: true,
      displayRequestDuration: true,
      defaultModelExpandDepth: 5,
    },
  });
}

/** No script or style in the page itself, no other host, and no frame around it. */
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

/** There is one server, which needs no choosing, and there are no links. */
const styles = `
.swagger-ui .scheme-container, .swagger-ui .response-col_links { display: none; }
.swagger-ui .info { margin: 30px 0; }
.swagger-ui textarea { min-height: 140px; }
`;

/** What the page needs of Swagger UI's folder. The rest, such as its OAuth page, has no use here. */
const assets = new Set([
  'swagger-ui.css',
  'index.css',
  'swagger-ui-bundle.js',
  'swagger-ui-standalone-preset.js',
  'favicon-16x16.png',
  'favicon-32x32.png',
]);

function requireAsset(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  const { '*': file } = request.params as { '*'?: string };
  if (file !== undefined && !assets.has(file)) {
    throw new RequestError('not-found', `There is no ${shown(file)} among the files of /docs.`);
  }
  done();
}
