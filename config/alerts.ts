import type { AlertPolicy } from '../core/alerts/policy'
import type { Variables } from '../providers/adapter'

/** Webhooks that alerts are posted to, and addresses that they are mailed to, unless the policy file says otherwise. */
export interface AlertSettings {
  /** Secret addresses by name. */
  slack: ReadonlyMap<string, string>
  email: readonly string[]
}

const hookShape = /^(?:([a-z][a-z0-9-]{0,39})=)?(https?:\/\/\S+)$/
const addressShape = /^[^\s<>@,]+@[^\s<>@,]+$/
/** Of a webhook that was given without a name. */
const usualName = 'default'

const words = (text: string | undefined, by: RegExp): string[] =>
  (text ?? '').split(by).filter((word) => word !== '')

/** What the environment says of where alerts go; what is not well-formed is left out, see {@link alertFaults}. */
export function readAlertSettings(variables: Variables): AlertSettings {
  const slack = words(variables.OTPILOT_ALERT_SLACK, /\s+/).flatMap((word) => {
    const [, name = usualName, url] = hookShape.exec(word) ?? []
    return url === undefined ? [] : [[name, url] as const]
  })
  const email = words(variables.OTPILOT_ALERT_EMAIL, /[\s,]+/)
  return { slack: new Map(slack), email: email.filter((word) => addressShape.test(word)) }
}

/** What cannot be used, a sentence each; never a value: the address of a webhook is its secret. */
export function alertFaults(
  policy: { alerts?: AlertPolicy | undefined } | undefined,
  variables: Variables,
  { isProduction }: { isProduction: boolean },
): string[] {
  const hooks = words(variables.OTPILOT_ALERT_SLACK, /\s+/)
  const addresses = words(variables.OTPILOT_ALERT_EMAIL, /[\s,]+/)
  const { slack } = readAlertSettings(variables)
  const unknown = (policy?.alerts?.receivers ?? []).flatMap((receiver) =>
    (receiver.slack ?? [])
      .filter((name) => !slack.has(name))
      .map(
        (name) =>
          `OTPILOT_ALERT_SLACK: holds no address for ${name}, which alerts.receivers of the policy file names`,
      ),
  )
  return [
    ...(hooks.every((word) => hookShape.test(word))
      ? []
      : ['OTPILOT_ALERT_SLACK: must be addresses, or name=address, separated by blanks']),
    ...(hooks.length > slack.size && hooks.every((word) => hookShape.test(word))
      ? ['OTPILOT_ALERT_SLACK: two addresses have the same name']
      : []),
    ...(isProduction && [...slack.values()].some((url) => /^http:/i.test(url))
      ? ['OTPILOT_ALERT_SLACK: must be https in production']
      : []),
    ...(addresses.every((word) => addressShape.test(word))
      ? []
      : ['OTPILOT_ALERT_EMAIL: must be e-mail addresses, separated by commas']),
    ...new Set(unknown),
  ]
}
