import type { ChannelVerdict, RouteDecision, RouteQuestion } from '../../core/routing/decide'
import { obstacles, whyChannel, whyProvider } from '../../core/routing/explain'
import type { ProviderVerdict } from '../../core/routing/providers'
import { isLive } from '../../core/requests/state'

/** A decision, and what it was made from. */
export interface Explained {
  question: RouteQuestion
  decision: RouteDecision
  /** What such a send is refused with. */
  refusal: string | undefined
  policyFile: string
  /** Of the prices. */
  currency: string | undefined
  /** By the id of a request. */
  drawn: boolean
  /** What was not known. */
  notes: readonly string[]
  /** Accounts without settings, and what they miss. */
  off: readonly { account: string; reason: string }[]
}

/** The plan and its reasons, for a terminal; without the recipient. */
export function linesOf(explained: Explained): string[] {
  const { question, decision, refusal, policyFile, notes } = explained
  const { kind, country, environment, region, risk, app } = question
  const who = kind === 'email' ? 'an e-mail address' : `a number of ${country ?? 'no country'}`
  const place = region === null ? '' : ` (region ${region})`
  const rules =
    decision.rules.length > 0 ? decision.rules.map((name) => `"${name}"`).join(', ') : 'none'
  const left = decision.channels.filter(({ step }) => !step)
  const missing = missingSettings(explained)
  return [
    `To ${who}, by ${isLive(environment) ? 'a live' : 'a test'} key (${environment}) of the app "${app}"${place}, at ${risk} risk.`,
    `Policy: ${policyFile}. Rules for this send: ${rules}.`,
    ...notes,
    '',
    ...(refusal === undefined ? [] : [`Such a send is refused. ${refusal}`]),
    ...decision.channels
      .filter(({ step }) => step)
      .flatMap((verdict, index) => linesOfStep(verdict, index + 1, explained)),
    ...(left.length > 0 ? ['', 'Not in the plan:'] : []),
    ...left.flatMap((verdict) => linesOfLeft(verdict)),
    ...missing.map((sentence, index) => (index === 0 ? `\n${sentence}` : sentence)),
  ]
}

/** Only what the accounts miss that this send could use with settings. */
function missingSettings({ decision, off }: Pick<Explained, 'decision' | 'off'>): string[] {
  const judged = decision.channels.flatMap(({ providers }) => providers)
  const wanted = judged.filter((verdict) => !verdict.used && verdict.because === 'off')
  const names = new Set(wanted.map(({ name }) => name))
  return off.flatMap(({ account, reason }) => (names.has(account) ? reason : []))
}

function linesOfStep(
  { channel, because, step, providers }: ChannelVerdict,
  place: number,
  explained: Explained,
): string[] {
  const seconds = (step?.timeoutMs ?? 0) / 1000
  return [
    `${place}. ${channel} (${whyChannel(because)}): ${step?.success} within ${seconds} s, else the next channel; after a doubt ${step?.onDoubt}`,
    ...providers
      .filter(({ used }) => used)
      .map((provider) => {
        const rule = step?.successBy?.[provider.name]
        return `   ${provider.name}: ${lineOfProvider(provider, explained)}${rule ? `; success when ${rule}` : ''}`
      }),
    ...obstacles([{ providers }]).map((line) => `   not ${line}`),
  ]
}

const linesOfLeft = ({ channel, because, providers }: ChannelVerdict): string[] =>
  because.by === 'not_named'
    ? [`-  ${channel}: ${whyChannel(because)}`]
    : [
        `-  ${channel} (${whyChannel(because)}): ${providers.length > 0 ? 'no account can be used' : 'there is no account for it'}`,
        ...obstacles([{ providers }]).map((line) => `   not ${line}`),
      ]

function lineOfProvider(verdict: ProviderVerdict, { currency, drawn }: Explained): string {
  const isDrawn = verdict.used && verdict.because === 'weight'
  const chance = isDrawn && !drawn ? ' (differs from request to request: --request shows one)' : ''
  const price = verdict.cost === undefined ? '' : `; ${verdict.cost} ${currency}`
  return `${whyProvider(verdict)}${chance}${price}`
}

/** The same as data. */
export function routeAnswer(explained: Explained) {
  const { question, decision, refusal, policyFile, currency, notes } = explained
  const { country, environment, region, risk, app } = question
  return {
    ...{ country, environment, app, region, risk, policy: policyFile },
    rules: decision.rules,
    refusal: refusal ?? null,
    notes,
    missing_settings: missingSettings(explained),
    channels: decision.channels.map(({ channel, because, step, cost, providers }) => ({
      channel,
      in_plan: step !== undefined,
      reason: whyChannel(because),
      ...(step && {
        timeout_ms: step.timeoutMs,
        success: step.success,
        ...(step.successBy && { success_by: step.successBy }),
        on_doubt: step.onDoubt,
        ...(cost !== undefined && { cost: { amount: cost, currency } }),
      }),
      providers: providers.map((provider) => ({
        name: provider.name,
        used: provider.used,
        reason: whyProvider(provider),
        ...(provider.cost !== undefined && { cost: { amount: provider.cost, currency } }),
      })),
    })),
  }
}
