import { segmentsOf } from '../../../core/messages/segments'
import { messageText, sourceOf, type Template } from '../../../core/messages/text'
import type { Channel } from '../../../core/channel'
import { readLocale } from '../../../core/messages/locale'
import { type AppView, findApp } from '../../../db/apps/apps'
import {
  deleteTemplate,
  findTemplate,
  listTemplates,
  maxTemplates,
  putTemplate,
} from '../../../db/messages/templates'
import {
  DeletedTemplateAnswer,
  PreviewAnswer,
  PreviewBody,
  TemplateAnswer,
  TemplateBody,
  TemplatePlace,
  TemplatesAnswer,
} from '../../contract/templates'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import { type AdminCall, route } from '../../route'
import { actorOf } from '../../send-wish'
import { readFields } from '../../validation'
import { appInPath, requireLive } from './reach'
import { faultsIn, sampleOf, templateAnswerOf, templateOf, warningsFor } from './translate-template'

const tag = 'Administration'
const path = '/admin/apps/{app_id}/templates'
const example = {
  text: 'Your {{brand}} code is {{code}}, for {{lifetime}}. Never share it.',
}

export const templateRoutes = (deps: ApiDeps) => [
  listRoute(deps),
  putRoute(deps),
  deleteRoute(deps),
  previewRoute(deps),
]

const listRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path,
    operationId: 'listTemplates',
    tag,
    summary: 'List what an app says in its own words',
    scope: 'admin',
    replies: { 200: { description: 'All that are in force.', content: TemplatesAnswer } },
    async handle(call) {
      const { id } = await appOf(deps, call)
      const templates = await listTemplates(deps.db, id)
      return { body: { templates: templates.map((template) => templateAnswerOf(id, template)) } }
    },
  })

const putRoute = (deps: ApiDeps) =>
  route({
    method: 'put',
    path: `${path}/{channel}/{locale}`,
    operationId: 'putTemplate',
    tag,
    summary: 'Say it in the app’s own words',
    description:
      'From the next request on, on this channel, for readers of this language. Requests under way keep their wording. Not with an app’s test key.',
    scope: 'admin',
    body: TemplateBody,
    example,
    replies: { 200: { description: 'In force, with what to look at.', content: TemplateAnswer } },
    errors: ['INVALID_MESSAGE'],
    async handle(call: AdminCall<TemplateBody>) {
      const app = await appOf(deps, call)
      requireLive(call.key)
      const place = readFields(TemplatePlace, call.params, 'path')
      const template = templateOf(call.body)
      refuseFaults(template, place.channel)
      const { id: appId } = app
      const put = await putTemplate(
        deps.db,
        { appId, ...place, actor: actorOf(call.key) },
        template,
      )
      if (put === 'full')
        throw new Problem('INVALID_MESSAGE', {
          detail: `An app has at most ${maxTemplates} templates.`,
        })
      if (!put) throw new Problem('NOT_FOUND')
      const warnings = warningsFor(app, place.channel, put)
      return { body: { ...templateAnswerOf(appId, put), warnings } }
    },
  })

const deleteRoute = (deps: ApiDeps) =>
  route({
    method: 'delete',
    path: `${path}/{channel}/{locale}`,
    operationId: 'deleteTemplate',
    tag,
    summary: 'Take the app’s own words back',
    description: 'Later requests have otpilot’s words again. Not with an app’s test key.',
    scope: 'admin',
    replies: {
      200: { description: 'There is none any more.', content: DeletedTemplateAnswer },
    },
    async handle(call) {
      const { id: appId } = await appOf(deps, call)
      requireLive(call.key)
      const place = readFields(TemplatePlace, call.params, 'path')
      const actor = actorOf(call.key)
      return { body: { deleted: await deleteTemplate(deps.db, { appId, ...place, actor }) } }
    },
  })

const previewRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: `${path}/preview`,
    operationId: 'previewTemplate',
    tag,
    summary: 'See what people would read or hear, and what is wrong with it',
    description: 'With a text, that one; without, what is in force. Nothing is kept or sent.',
    scope: 'admin',
    body: PreviewBody,
    example: { channel: 'sms', locale: 'fr', text: 'Code {{brand}} : {{code}}. Gardez-le secret.' },
    replies: { 200: { description: 'With a code that is made up.', content: PreviewAnswer } },
    errors: ['INVALID_MESSAGE'],
    async handle(call: AdminCall<PreviewBody>) {
      const app = await appOf(deps, call)
      const { channel, locale: hint = '', text, brand, ...others } = call.body
      const locale = readLocale(hint) ?? 'en'
      const given = text === undefined ? undefined : templateOf({ text, ...others })
      if (given) refuseFaults(given, channel)
      const template = given
        ? { ...given, locale }
        : await findTemplate(deps.db, { appId: app.id, channel, locale })
      const named = { ...app, brand: brand ?? app.brand }
      const sample = sampleOf(named, channel)
      const source = sourceOf({ channel, message: undefined, template, locale })
      const shown = messageText({ ...sample, message: undefined, template, locale })
      const body: PreviewAnswer = {
        author: given ? 'given' : source.author === 'app' ? 'app' : 'otpilot',
        locale: shown.locale,
        text: shown.text,
        subject: shown.subject ?? null,
        html: shown.html ?? null,
        key_prompt: shown.keyPrompt ?? null,
        sms: channel === 'sms' ? partsOf(shown.text) : null,
        warnings: warningsFor(named, channel, source),
      }
      return { body }
    },
  })

/** @throws {Problem} NOT_FOUND for another's app, and for none. */
async function appOf({ db }: ApiDeps, call: Pick<AdminCall, 'key' | 'params'>): Promise<AppView> {
  const app = await findApp(db, appInPath(call))
  if (!app) throw new Problem('NOT_FOUND')
  return app
}

/** @throws {Problem} INVALID_MESSAGE with everything that is wrong. */
function refuseFaults(template: Template, channel: Channel): void {
  const errors = faultsIn(template, channel)
  const [first] = errors
  if (first)
    throw new Problem('INVALID_MESSAGE', { detail: `${first.field}: ${first.message}.`, errors })
}

const partsOf = (text: string) => {
  const { encoding, units, parts } = segmentsOf(text)
  return { encoding, units, parts }
}
