import { challengeVendors, variablesFor, vendors } from '../sandbox/vendors'
import type { Variables } from './dotenv'
import { freePort } from './ports'
import type { Settings } from './settings'

const everyVendor = [...vendors, ...challengeVendors]

const flag = /^--with-fakes(?:=(.*))?$/

/**
 * @throws for an option that a start does not know, and for one that npm kept for itself because `--` was left out:
 * else a misspelt start would go on without it, and say nothing.
 */
export function assertOptions(args: readonly string[], env: NodeJS.ProcessEnv): void {
  const unknown = args.filter((arg) => arg !== '--check' && !flag.test(arg))
  if (unknown.length > 0)
    throw new Error(
      `npm start does not know ${unknown.join(' ')}: there are --check and --with-fakes[=names].`,
    )
  const kept = env.npm_config_with_fakes
  if (kept && !args.some((arg) => flag.test(arg)))
    throw new Error(
      `npm kept --with-fakes for itself. Put two hyphens before it: npm start -- --with-fakes${kept === 'true' ? '' : `=${kept}`}`,
    )
}

/**
 * `npm start -- --with-fakes[=twilio,vonage]`: the variables that point those provider accounts, and those of
 * vendors of challenges, at the sandbox, which plays their services. What the user has set stays.
 * @throws when there is no fake of a name.
 */
export function variablesOfFakes(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  sandboxUrl: string,
): Variables {
  const given = args.map((arg) => flag.exec(arg)).find((match) => match !== null)
  if (!given) return {}
  const names =
    given[1] === undefined
      ? everyVendor.map(({ name }) => name)
      : given[1].split(',').map((name) => name.trim())
  const unknown = names.filter((name) => !everyVendor.some((vendor) => vendor.name === name))
  if (unknown.length > 0)
    throw new Error(
      `--with-fakes: there is no fake of ${unknown.join(', ')}; there are ${everyVendor.map(({ name }) => name).join(', ')}.`,
    )
  const played = everyVendor.filter(({ name }) => names.includes(name))
  const made = Object.entries(variablesFor(sandboxUrl, played))
  return Object.fromEntries(made.filter(([name]) => !env[name]))
}

/**
 * The fakes' variables with a port for mail, which is not HTTP and needs one of its own: what the user has set, else any
 * that is free, so that copies of this system never meet in it.
 */
export async function withMailPort(
  fakes: Variables,
  { env, ports }: Pick<Settings, 'env' | 'ports'>,
): Promise<Variables> {
  if (!('SMTP_FAKE_PORT' in fakes)) return fakes
  let port = Number(env.SMTP_PORT) || (await freePort())
  // The five may not be listened on yet.
  while (Object.values(ports).includes(port)) port = await freePort()
  const made = { SMTP_PORT: String(port), SMTP_FAKE_PORT: String(port) }
  return { ...fakes, ...Object.fromEntries(Object.entries(made).filter(([name]) => !env[name])) }
}
