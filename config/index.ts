import { join } from 'node:path'
import { loadClientConnectConfig } from '@temporalio/envconfig'
import { z } from 'zod'
import { settingsFaults } from '../providers'
import type { Variables } from '../providers/adapter'
import type { CamaraAccount } from '../providers/camara'
import { alertFaults, type AlertSettings, readAlertSettings } from './alerts'
import { carrierFaults, readCamara } from './carriers'
import { type ChallengeAccounts, challengeFaults, readChallengeAccounts } from './challenges'
import { clearTextFaults } from './clear-text'
import { loadPolicy, type Policy } from './policy'
import { readTrustProxy, type TrustProxy } from './trust-proxy'

export type { Policy } from './policy'

/** An empty variable counts as absent: compose files and shells make them so. */
const optional = <T extends z.ZodType>(schema: T) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional())
const withDefault = <T extends z.ZodType>(schema: T, value: string) =>
  z.preprocess((given) => (given === undefined || given === '' ? value : given), schema)

const port = z.coerce.number().int().min(0).max(65_535)
const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http or https address' })
const databaseUrl = z.url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// address' })

const Environment = z.object({
  OTPILOT_ENV: withDefault(z.enum(['development', 'production']), 'production'),
  PORT: withDefault(port, '8080'),
  OTPILOT_HOST: withDefault(z.string(), '127.0.0.1'),
  OTPILOT_URL: optional(httpUrl),
  DATABASE_URL: z.preprocess((value) => value || undefined, databaseUrl),
  OTPILOT_STATEMENT_NAMES: withDefault(z.enum(['on', 'off']), 'on'),
  TEMPORAL_ADDRESS: withDefault(
    z.string().regex(/^[^\s/]+:\d+$/, 'must be host:port'),
    '127.0.0.1:7233',
  ),
  TEMPORAL_NAMESPACE: withDefault(z.string(), 'default'),
  TEMPORAL_UI_URL: optional(httpUrl),
  OTPILOT_TASK_QUEUE: withDefault(z.string(), 'otpilot'),
  OTPILOT_WORKFLOW_BUNDLE: optional(z.string()),
  OTPILOT_DATA_DIR: withDefault(z.string(), '.otpilot'),
  OTPILOT_KEYS_FILE: optional(z.string()),
  OTPILOT_AUDIT_DIR: optional(z.string()),
  OTPILOT_POLICY_FILE: optional(z.string()),
  SANDBOX_URL: optional(httpUrl),
  OTPILOT_TRUST_PROXY: optional(
    z.string().transform((text, context) => {
      const trust = readTrustProxy(text)
      if (trust) return trust
      context.addIssue({
        code: 'custom',
        message: 'must be a number of proxies from 1 to 9, or networks such as 10.0.0.0/8,fd00::/8',
      })
      return z.NEVER
    }),
  ),
  OTPILOT_PLAIN_HTTP: withDefault(z.enum(['refuse', 'redirect']), 'refuse'),
  OTPILOT_READY_AFTER: withDefault(z.enum(['postgres', 'everything']), 'postgres'),
  OTPILOT_PLAIN_POSTGRES: withDefault(z.enum(['refuse', 'allow']), 'refuse'),
  OTPILOT_PLAIN_TEMPORAL: withDefault(z.enum(['refuse', 'allow']), 'refuse'),
  TLS_CERT: optional(z.string()),
  TLS_KEY: optional(z.string()),
  OTPILOT_REGION: optional(
    z.string().regex(/^[a-z0-9-]{1,20}$/, 'lower-case letters, digits and -'),
  ),
  LOG_LEVEL: withDefault(
    z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
  ),
})
type Environment = z.infer<typeof Environment>

const isProduction = (env: NodeJS.ProcessEnv): boolean =>
  (env.OTPILOT_ENV || 'production') === 'production'

/** What only production insists on; read from the raw variables, so that it is told beside every other fault. */
function productionFaults(env: NodeJS.ProcessEnv, read: Environment | undefined): string[] {
  if (!isProduction(env)) return []
  const required = (['OTPILOT_URL', 'OTPILOT_KEYS_FILE'] as const)
    .filter((name) => !env[name])
    .map((name) => `${name}: required in production (OTPILOT_ENV=development lifts this)`)
  const insecure = (['OTPILOT_URL', 'OTPILOT_GATEWAY_URL'] as const)
    .filter((name) => /^http:/i.test(env[name] ?? ''))
    .map((name) => `${name}: must be https in production`)
  return [
    ...required,
    ...insecure,
    ...clearTextFaults(env, read && readTemporal(read, env).connection),
  ]
}

/** What only the process that listens needs. */
function tlsFaults(env: NodeJS.ProcessEnv): string[] {
  if (!env.TLS_CERT !== !env.TLS_KEY)
    return ['TLS_CERT, TLS_KEY: one is of no use without the other']
  if (!isProduction(env) || env.TLS_CERT || env.OTPILOT_TRUST_PROXY) return []
  return [
    'TLS_CERT and TLS_KEY, or OTPILOT_TRUST_PROXY: required in production, which is reached by https only',
  ]
}

interface Temporal {
  /** Address, TLS and credentials, for either kind of connection. */
  connection: { address: string } & Pick<
    ReturnType<typeof loadClientConnectConfig>['connectionOptions'],
    'apiKey' | 'tls' | 'metadata'
  >
  namespace: string
  taskQueue: string
  uiUrl: string | undefined
}

export interface Config {
  isProduction: boolean
  /** Where this process stands; it serves no app of another region. */
  region: string | undefined
  /** Proxies whose forwarding headers are believed. */
  trustProxy: TrustProxy | undefined
  /** What calls without encryption get in production. */
  plainHttp: Environment['OTPILOT_PLAIN_HTTP']
  /** What has to answer before the first 200 of `/readyz`. */
  readyAfter: Environment['OTPILOT_READY_AFTER']
  /** Files of the API's own TLS; none where a proxy does it. */
  tls: { certFile: string; keyFile: string } | undefined
  host: string
  port: number
  /** Public base address of the API, without a slash at its end; callbacks go there too. */
  url: string
  databaseUrl: string
  /** How statements that have a name are run. */
  statements: { named: boolean; rowsChecked: boolean }
  temporal: Temporal
  dataDir: string
  keysFile: string
  /** Where the signed roots of the audit go. */
  auditDir: string
  /** A bundle of the workflow code made before, so that a worker starts in a second. */
  workflowBundle: string | undefined
  policy: Policy
  /** Where it comes from; undefined: the shipped one. */
  policyFile: string | undefined
  sandboxUrl: string | undefined
  /** Where alerts go. */
  alerts: AlertSettings
  /** Accounts at vendors of challenges. */
  challenges: ChallengeAccounts
  /** Who is asked about SIM cards beside the accounts of the policy. */
  camara: CamaraAccount | undefined
  /** Where the accounts of the policy find their settings. */
  variables: Variables
  logLevel: Environment['LOG_LEVEL']
}

/**
 * Reads the whole configuration of an API or worker process.
 * @param options.serves whether the process listens for callers: the API does
 * @throws naming every variable and every line of the policy file at fault, never a value.
 */
export function readConfig(
  env: NodeJS.ProcessEnv,
  { serves = false }: { serves?: boolean } = {},
): Config {
  const read = Environment.safeParse(env)
  const policy = loadPolicy(env.OTPILOT_POLICY_FILE)
  const faults = [
    ...(read.success ? [] : read.error.issues.map((issue) => faultOf(issue, env))),
    ...productionFaults(env, read.data),
    ...(serves ? tlsFaults(env) : []),
    ...alertFaults(policy.success ? policy.policy : undefined, env, {
      isProduction: isProduction(env),
    }),
    ...challengeFaults(policy.success ? policy.policy : undefined, env, {
      isProduction: isProduction(env),
    }),
    ...carrierFaults(policy.success ? policy.policy : undefined, env, {
      isProduction: isProduction(env),
    }),
    ...(policy.success
      ? settingsFaults(policy.policy.accounts, env, { isProduction: isProduction(env) })
      : policy.faults),
  ]
  if (!read.success || !policy.success || faults.length > 0) {
    throw new Error(
      `The configuration is not usable:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    )
  }
  return toConfig(read.data, policy.policy, env)
}

function faultOf({ path, message }: z.core.$ZodIssue, env: NodeJS.ProcessEnv): string {
  const name = path.join('.')
  return `${name}: ${env[name] ? message.replace(/^Invalid (input|option): /, '') : 'required'}`
}

function toConfig(env: Environment, policy: Policy, raw: NodeJS.ProcessEnv): Config {
  const url = env.OTPILOT_URL ?? `http://127.0.0.1:${env.PORT}`
  return {
    isProduction: env.OTPILOT_ENV === 'production',
    region: env.OTPILOT_REGION,
    trustProxy: env.OTPILOT_TRUST_PROXY,
    plainHttp: env.OTPILOT_PLAIN_HTTP,
    readyAfter: env.OTPILOT_READY_AFTER,
    tls: env.TLS_CERT && env.TLS_KEY ? { certFile: env.TLS_CERT, keyFile: env.TLS_KEY } : undefined,
    host: env.OTPILOT_HOST,
    port: env.PORT,
    url: url.replace(/\/+$/, ''),
    databaseUrl: env.DATABASE_URL,
    statements: {
      named: env.OTPILOT_STATEMENT_NAMES === 'on',
      rowsChecked: env.OTPILOT_ENV === 'development',
    },
    temporal: readTemporal(env, raw),
    dataDir: env.OTPILOT_DATA_DIR,
    keysFile: env.OTPILOT_KEYS_FILE ?? join(env.OTPILOT_DATA_DIR, 'keys.json'),
    auditDir: env.OTPILOT_AUDIT_DIR ?? join(env.OTPILOT_DATA_DIR, 'audit'),
    workflowBundle: env.OTPILOT_WORKFLOW_BUNDLE,
    policy,
    policyFile: env.OTPILOT_POLICY_FILE,
    sandboxUrl: env.SANDBOX_URL,
    alerts: readAlertSettings(raw),
    challenges: readChallengeAccounts(raw),
    camara: readCamara(raw),
    variables: raw,
    logLevel: env.LOG_LEVEL,
  }
}

/** TLS, API key and headers come as every Temporal client reads them, so a cluster or Temporal Cloud will do. */
function readTemporal(env: Environment, raw: NodeJS.ProcessEnv): Temporal {
  const given = Object.entries(raw).filter((entry): entry is [string, string] => Boolean(entry[1]))
  const variables = Object.fromEntries(given)
  const { connectionOptions, namespace } = loadClientConnectConfig({
    overrideEnvVars: variables,
    // A profile that the operator keeps for something else must not be picked up by chance.
    disableFile: !variables.TEMPORAL_CONFIG_FILE && !variables.TEMPORAL_PROFILE,
  })
  const { address = env.TEMPORAL_ADDRESS, apiKey, tls, metadata } = connectionOptions
  return {
    connection: { address, apiKey, tls, metadata },
    namespace: namespace ?? env.TEMPORAL_NAMESPACE,
    taskQueue: env.OTPILOT_TASK_QUEUE,
    uiUrl: env.TEMPORAL_UI_URL?.replace(/\/+$/, ''),
  }
}
