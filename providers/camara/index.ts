import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { acceptedBody } from '../answer'
import { createDispatcher, postForm, postJson } from '../http'
import { ProviderFault, type SimSwapCheck } from '../provider'

/** Access to the SIM Swap API of an operator, or of somebody who speaks to several. */
export interface CamaraAccount {
  /** Up to the version, without a slash at its end: `/check` comes after it. */
  simSwapUrl: string
  tokenUrl: string
  clientId: string
  clientSecret: string
  scope: string
}

/** The first send waits no longer than for any carrier, but the token is there for the next one. */
const tokenWithinMs = 5_000
/** In the last of its time a token is not used: the call with it takes some. */
const spareMs = 5_000

const Token = z.object({
  access_token: z.string().min(1),
  // Where it is not said, as short as any.
  expires_in: z.coerce.number().positive().catch(60),
})
const Checked = z.object({ swapped: z.boolean() })

interface HeldToken {
  value: Promise<string>
  /** By `performance.now()`. */
  until: number
}

/** Asks by CAMARA's SIM Swap API, `POST /check`, with a token of the client itself (docs/providers/camara.md). */
export function camaraSimSwap(
  account: CamaraAccount,
  dispatcher: Dispatcher = createDispatcher(),
): SimSwapCheck {
  let held: HeldToken | undefined

  function renew(): HeldToken {
    const token: HeldToken = { value: askToken(account, dispatcher).then(keep), until: Infinity }
    function keep({ access_token, expires_in }: z.infer<typeof Token>): string {
      token.until = performance.now() + expires_in * 1_000 - spareMs
      return access_token
    }
    token.value.catch(() => drop(token))
    return token
  }
  const drop = (token: HeldToken) => {
    if (held === token) held = undefined
  }

  return {
    async hasChanged(phoneNumber, { withinHours }, signal) {
      if (!held || held.until <= performance.now()) held = renew()
      const token = held
      const call = {
        url: `${account.simSwapUrl}/check`,
        headers: { authorization: `Bearer ${await token.value}` },
        body: JSON.stringify({ phoneNumber, maxAge: withinHours }),
      }
      const answer = await postJson(dispatcher, call, signal)
      // Withdrawn before its time: the next send asks for another.
      if (answer.status === 401) drop(token)
      const { data } = Checked.safeParse(acceptedBody(answer))
      if (data) return data.swapped
      throw new ProviderFault('unavailable', 'The operator does not say whether the SIM changed.')
    },
  }
}

async function askToken(
  { tokenUrl, clientId, clientSecret, scope }: CamaraAccount,
  dispatcher: Dispatcher,
) {
  const user = [clientId, clientSecret].map(encodeURIComponent).join(':')
  const call = {
    url: tokenUrl,
    headers: { authorization: `Basic ${Buffer.from(user).toString('base64')}` },
    fields: { grant_type: 'client_credentials', scope },
  }
  const answer = await postForm(dispatcher, call, AbortSignal.timeout(tokenWithinMs))
  const { data } = Token.safeParse(acceptedBody(answer))
  if (data) return data
  throw new ProviderFault('config', 'The operator gave no token.')
}
