/*
 * Types of the wire from docs/api/openapi.json and asyncapi.json, which the server is tested
 * against: packages/client/src/api.gen.ts, made before types are checked and never committed. Only as
 * much of JSON Schema as these two use; what is not known here stops it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const api = (name) => JSON.parse(readFileSync(join(web, '..', 'docs', 'api', name), 'utf8'));
const openapi = api('openapi.json');
const asyncapi = api('asyncapi.json');
const plain = { string: 'string', integer: 'number', number: 'number', boolean: 'boolean', null: 'null' };

function typeOf(s, where) {
    if (s === true || Object.keys(s).length === 0) {
        return 'unknown';
    }
    if (s.$ref) {
        return `${s.$ref.includes('/messages/') ? 'Events' : 'Objects'}['${s.$ref.split('/').at(-1)}']`;
    }
    if ('const' in s) {
        return JSON.stringify(s.const);
    }
    if (s.enum) {
        return s.enum.map((v) => JSON.stringify(v)).join(' | ');
    }
    for (const many of ['oneOf', 'anyOf']) {
        if (s[many] && !s.properties) {
            return s[many].map((o) => `(${typeOf(o, where)})`).join(' | ');
        }
    }
    if (s.allOf) {
        return s.allOf.map((o) => `(${typeOf(o, where)})`).join(' & ');
    }
    const types = Array.isArray(s.type) ? s.type : [s.type ?? (s.properties ? 'object' : undefined)];
    return types
        .map((t) => {
            if (t === 'object') {
                const fields = Object.entries(s.properties ?? {}).map(([key, of]) => {
                    const optional = (s.required ?? []).includes(key) ? '' : '?';
                    return `${JSON.stringify(key)}${optional}: ${typeOf(of, `${where}.${key}`)};`;
                });
                return fields.length > 0 ? `{ ${fields.join(' ')} }` : 'Record<string, unknown>';
            }
            if (t === 'array') {
                return `(${typeOf(s.items ?? {}, where)})[]`;
            }
            if (!plain[t]) {
                throw new Error(`${where}: a schema of type ${JSON.stringify(t)}`);
            }
            return plain[t];
        })
        .join(' | ');
}

const lines = (entries) => entries.map(([name, s]) => `    ${JSON.stringify(name)}: ${typeOf(s, name)};\n`).join('');
const objects = { ...asyncapi.components.schemas, ...openapi.components.schemas };
const text = `/* Made by tools/api-types.mjs from docs/api: not to be edited. */
/* Objects of the REST interface. */
export interface Objects {
${lines(Object.entries(objects))}}

/* Events of the socket: client_…, server_…. */
export interface Events {
${lines(Object.entries(asyncapi.components.messages).map(([name, m]) => [name, m.payload]))}}
`;
writeFileSync(join(web, 'packages/client/src/api.gen.ts'), text);
