import { createHash } from 'node:crypto'
import { z } from 'zod'
import { errorCodes } from '../core/error-code'
import { apiVersion } from './openapi'
import { errorsOf, type Route } from './route'

const style = `
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --ink: light-dark(#0a6b4f, #6fd3b0) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem } a { color: var(--ink) }
section { border-top: 1px solid var(--line); padding-top: .5rem; margin-top: 1.5rem }
code, pre { font: 14px/1.5 ui-monospace, monospace } pre { background: var(--soft); padding: .8rem; overflow-x: auto; border-radius: .4rem }
.method { color: var(--ink); font-weight: 700 } table { border-collapse: collapse; width: 100%; margin-bottom: 1rem; font-size: .93rem }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line) }
nav ul { columns: 2; padding-left: 1.2rem } .note { opacity: .8 }
@media (max-width: 40rem) { nav ul { columns: 1 } table { display: block; overflow-x: auto } }`

/** The page loads nothing and runs nothing: all it may use is the style inside it. */
export const docsPolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** The API as a page for people, made of the same routes as the API itself. */
export function docsPage(routes: Route[], publicUrl: string): string {
  const tags = Map.groupBy(routes, ({ tag }) => tag)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>otpilot API</title><style>${style}</style>
</head>
<body>
<h1>otpilot API ${apiVersion}</h1>
<p>Base address <code>${escape(publicUrl)}</code>. Calls carry an API key: <code>Authorization: Bearer otpk_…</code>.
Bodies are JSON. Machines read <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>
<nav><ul>${routes.map((route) => `<li><a href="#${route.operationId}">${escape(route.summary)}</a></li>`).join('')}</ul></nav>
${[...tags].map(([tag, ofTag]) => `<h2>${escape(tag)}</h2>${ofTag.map((route) => section(route, publicUrl)).join('')}`).join('\n')}
<h2 id="errors">Errors</h2>
<p>Every error is <code>application/problem+json</code> (RFC 9457) with <code>error_code</code>, <code>message</code>,
<code>request_id</code> and <code>trace_id</code>. This list is closed.</p>
${table(
  ['error_code', 'status', 'message'],
  Object.entries(errorCodes).map(([code, [status, message]]) => [
    `<code>${code}</code>`,
    String(status),
    escape(message),
  ]),
)}
</body>
</html>
`
}

function section(route: Route, publicUrl: string): string {
  const { method, path, summary, description, scope, operationId, requestHeaders, replies } = route
  const fields = fieldsOf(route)
  return `<section id="${operationId}">
<h3>${escape(summary)}</h3>
<p><span class="method">${method.toUpperCase()}</span> <code>${escape(path)}</code>
<span class="note">${scope ? `scope <code>${scope}</code>` : 'no key'}</span></p>
${description ? `<p>${escape(description)}</p>` : ''}
${fields.length > 0 ? table(['field', 'type', ''], fields) : ''}
${
  requestHeaders
    ? table(
        ['header', ''],
        Object.entries(requestHeaders).map(([name, text]) => [
          `<code>${name}</code>`,
          escape(text),
        ]),
      )
    : ''
}
${route.example && scope ? `<pre>${escape(curl(route, publicUrl))}</pre>` : ''}
<p class="note">${Object.entries(replies)
    .map(([status, reply]) => `${status}: ${escape(reply.description)}`)
    .join(' ')} Refusals: ${errorsOf(route)
    .map((code) => `<code>${code}</code>`)
    .join(' ')}</p>
</section>`
}

const curl = ({ method, path, example }: Route, publicUrl: string): string =>
  [
    `curl -X ${method.toUpperCase()} ${publicUrl}${path} \\`,
    `  -H "Authorization: Bearer $OTP_API_KEY" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d '${JSON.stringify(example, null, 2)}'`,
  ].join('\n')

interface FieldSchema {
  type?: string | string[]
  enum?: unknown[]
  description?: string
  anyOf?: FieldSchema[]
}

function fieldsOf({ body, rawSchema, query }: Route): string[][] {
  const schema = body ?? rawSchema ?? query
  if (!schema) return []
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' })
  return Object.entries(properties).map(([name, property]) => {
    const field = property as FieldSchema
    return [
      `<code>${escape(name)}</code>${required.includes(name) ? ' (required)' : ''}`,
      escape(typeOf(field)),
      escape(field.description ?? ''),
    ]
  })
}

const typeOf = ({ type, enum: values, anyOf }: FieldSchema): string =>
  values?.join(' | ') ??
  (anyOf ? anyOf.map(typeOf).join(' | ') : [type ?? 'any'].flat().join(' | '))

const table = (heads: string[], rows: string[][]): string =>
  `<table><thead><tr>${heads.map((head) => `<th>${head}</th>`).join('')}</tr></thead><tbody>${rows
    .map((cells) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`)
    .join('')}</tbody></table>`

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => entities[character] ?? character)
