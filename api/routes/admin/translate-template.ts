import { charactersOf } from '../../../core/verify/alphabet'
import type { Channel } from '../../../core/channel'
import { lifetime } from '../../../core/limits'
import { type Finding, faultsOf, type Sample, warningsOf } from '../../../core/messages/lint'
import type { OwnTemplate, Template } from '../../../core/messages/text'
import type { App } from '../../../db/apps/apps'
import type { TemplateView } from '../../../db/messages/templates'
import type { TemplateBody } from '../../contract/templates'

// Between the words of the contract and those of the tables, as translate.ts; the command line speaks the contract's too.

export const templateOf = ({ key_prompt, ...others }: TemplateBody): Template => ({
  ...others,
  keyPrompt: key_prompt,
})

export const templateAnswerOf = (appId: string, template: TemplateView) => ({
  app_id: appId,
  channel: template.channel,
  locale: template.locale,
  text: template.text,
  subject: template.subject,
  html: template.html,
  key_prompt: template.keyPrompt,
  revision: template.revision,
  changed_at: template.createdAt.toISOString(),
})

const fieldOf: Record<keyof Template, string> = {
  text: 'text',
  subject: 'subject',
  html: 'html',
  keyPrompt: 'key_prompt',
}
const findingOf = (finding: Finding) => ({ ...finding, field: fieldOf[finding.field] })

const channelOf = { subject: 'email', html: 'email', keyPrompt: 'voice' } as const

/** Everything for which a template is refused. */
export function faultsIn(template: Template, channel: Channel) {
  const misplaced = Object.entries(channelOf)
    .map(([field, right]) => ({ field: field as keyof typeof channelOf, right }))
    .filter(({ field, right }) => channel !== right && typeof template[field] === 'string')
    .map(({ field, right }): Finding => {
      const message = `is for the channel ${right} only`
      return { field, rule: 'channel', message }
    })
  return [...faultsOf(template), ...misplaced]
    .map(findingOf)
    .map(({ field, message }) => ({ field, message }))
}

/** What the app's messages are like, with a code that is nobody's. */
export const sampleOf = (app: App, channel: Channel): Sample => ({
  channel,
  brand: app.brand,
  code: charactersOf[app.codeAlphabet].slice(-app.codeLength),
  lifetimeSeconds: Math.min(lifetime.default, app.maxExpirySeconds),
  autofill: { domain: app.autofillDomain, appHash: app.androidAppHash },
})

/** What the author of a template should look at. */
export const warningsFor = (app: App, channel: Channel, template: OwnTemplate) =>
  warningsOf(template, sampleOf(app, channel)).map(findingOf)
