/** A widget on a page, and a person before it: @returns what the page hands in. */
export async function solvedByVendor(
  sandboxUrl: string,
  kind: 'turnstile' | 'hcaptcha',
  given: {
    site_key: string
    action?: string
    cdata?: string
    hostname?: string
    age_seconds?: number
  },
): Promise<string> {
  const { site_key: sitekey, ...more } = given
  const answer = await fetch(`${sandboxUrl}/vendors/${kind}/solve`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sitekey, ...more }),
  })
  if (!answer.ok) throw new Error(`the played ${kind} answered ${answer.status}`)
  return `${kind}:${((await answer.json()) as { token: string }).token}`
}
