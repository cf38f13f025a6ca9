import { z } from 'zod'
import { camara } from '../core/protection/number'
import type { CamaraAccount } from '../providers/camara'
import type { Policy } from './policy'

type Given = Readonly<Record<string, string | undefined>>

const http = { protocol: /^https?$/, error: 'must be an http or https address' }

/** What the purpose and the call are named in CAMARA's profile of OpenID Connect. */
const usualScope = 'dpv:FraudPreventionAndDetection sim-swap:check'

const Settings = z.object({
  CAMARA_SIM_SWAP_URL: z.url(http),
  CAMARA_TOKEN_URL: z.url(http),
  CAMARA_CLIENT_ID: z.string(),
  CAMARA_CLIENT_SECRET: z.string(),
  CAMARA_SCOPE: z.string().default(usualScope),
})
const names = Object.keys(Settings.shape)

const givenOf = (variables: Given) =>
  Object.fromEntries(names.flatMap((name) => (variables[name] ? [[name, variables[name]]] : [])))

/** Access to operators that carry no messages; half of it is none. */
export function readCamara(variables: Given): CamaraAccount | undefined {
  const { data } = Settings.safeParse(givenOf(variables))
  return (
    data && {
      simSwapUrl: data.CAMARA_SIM_SWAP_URL.replace(/\/+$/, ''),
      tokenUrl: data.CAMARA_TOKEN_URL,
      clientId: data.CAMARA_CLIENT_ID,
      clientSecret: data.CAMARA_CLIENT_SECRET,
      scope: data.CAMARA_SCOPE,
    }
  )
}

/** What is wrong with it, and with a policy that asks for it where it is not set up; names, never values. */
export function carrierFaults(
  policy: Pick<Policy, 'protection'> | undefined,
  variables: Given,
  { isProduction }: { isProduction: boolean },
): string[] {
  const given = givenOf(variables)
  const { protection } = policy ?? {}
  const isWanted = [protection, ...(protection?.overrides ?? [])].some(
    (said) => said?.simSwap?.provider === camara,
  )
  const isBegun = Object.keys(given).length > 0
  const issues = isWanted || isBegun ? (Settings.safeParse(given).error?.issues ?? []) : []
  const plain = names.filter(
    (name) => isProduction && name.endsWith('_URL') && /^http:/i.test(given[name] ?? ''),
  )
  return [
    ...issues.map(({ path: [name = ''], message }) =>
      given[String(name)] === undefined
        ? `${String(name)}: required for SIM checks by CAMARA`
        : `${String(name)}: ${message}`,
    ),
    ...plain.map((name) => `${name}: must be https in production`),
  ]
}
