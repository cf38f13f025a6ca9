import { variablesFor, vendors } from '../sandbox/vendors'
import type { Variables } from './dotenv'

const flag = /^--with-fakes(?:=(.*))?$/

/**
 * `npm start -- --with-fakes[=twilio,vonage]`: the variables that point those provider accounts at the sandbox, which
 * plays their services. What the user has set stays.
 * @throws when there is no fake of a name.
 */
export function variablesOfFakes(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  sandboxUrl: string,
): Variables {
  const given = args.map((arg) => flag.exec(arg)).find((match) => match !== null)
  if (!given) return {}
  const names = given[1] === undefined ? vendors.map(({ name }) => name) : given[1].split(',')
  const unknown = names.filter((name) => !vendors.some((vendor) => vendor.name === name))
  if (unknown.length > 0)
    throw new Error(
      `--with-fakes: there is no fake of ${unknown.join(', ')}; there are ${vendors.map(({ name }) => name).join(', ')}.`,
    )
  const played = vendors.filter(({ name }) => names.includes(name))
  const made = Object.entries(variablesFor(sandboxUrl, played))
  return Object.fromEntries(made.filter(([name]) => !env[name]))
}
