// Installs the packages when they are missing or older than package-lock.json, then runs a program of ours
// under a supported Node. Plain JavaScript without packages, for Node 20.3 and newer.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const modules = join(root, 'node_modules')
const supported = ['22', '24']
const stops = ['SIGINT', 'SIGTERM', 'SIGHUP']

const readPackages = (file) => JSON.parse(readFileSync(join(root, file), 'utf8')).packages

/** npm notes what it put into node_modules, in the form of the lock file itself. */
function isInstalled() {
  if (!existsSync(join(modules, '.package-lock.json'))) return false
  const present = readPackages('node_modules/.package-lock.json')
  return Object.entries(readPackages('package-lock.json')).every(
    ([path, { version, optional }]) =>
      path === '' || (optional && !present[path]) || present[path]?.version === version,
  )
}

const say = (sentence) => console.error(`otpilot: ${sentence}`)

const fail = (sentence) => {
  say(sentence)
  process.exit(1)
}

/** Two commands started at once on a fresh clone must not install over each other. */
async function withInstallLock(work) {
  const place = createHash('sha256').update(root).digest('hex').slice(0, 12)
  const lock = join(tmpdir(), `otpilot-install-${place}`)
  for (let waited = 0; ; waited++) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      if (!holderLives(lock)) rmSync(lock, { force: true })
      else if (waited % 50 === 0) say('another command is installing the packages, waiting for it.')
      await sleep(100)
    }
  }
  const release = () => rmSync(lock, { force: true })
  process.once('exit', release)
  try {
    await work()
  } finally {
    process.off('exit', release)
    release()
  }
}

function holderLives(lock) {
  try {
    const pid = Number(readFileSync(lock, 'utf8'))
    if (!pid) return true
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

async function install() {
  if (isInstalled()) return
  if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink())
    fail(
      '"npm ci" would empty what the link node_modules leads to, whose packages are not those of package-lock.json: remove the link and run the same command again.',
    )
  say('installing the packages of package-lock.json, about a minute the first time.')
  const startedAt = Date.now()
  const seconds = () => Math.round((Date.now() - startedAt) / 1000)
  const progress = setInterval(() => say(`installing packages: ${seconds()} s`), 5000)
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']
  // A production setting of the environment must not leave out what starts the development system.
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  let said = ''
  const child = spawn(npm[0], [...npm.slice(1), ...args], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => (said = (said + chunk).slice(-4000)))
  const leave = () => {
    // npm goes on when asked to stop. Half an installation is made anew by the next start.
    child.once('close', () => process.exit(130))
    if (child.pid) process.kill(-child.pid, 'SIGKILL')
  }
  for (const signal of stops) process.on(signal, leave)
  const failure = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) =>
      resolve(code === 0 ? undefined : (signal ?? `exit ${code}`)),
    )
  })
  for (const signal of stops) process.off(signal, leave)
  clearInterval(progress)
  if (failure !== undefined) {
    say(`"npm ci" failed (${failure}). Its last words:\n${said.trim()}`)
    fail('check the network and the npm registry, then run the same command again.')
  }
  say(`packages installed in ${seconds()} s.`)
}

/** The running Node where it is supported, else the one that npm installed. */
function findNode() {
  if (supported.includes(process.versions.node.split('.')[0])) return process.execPath
  const own = join(modules, 'node', 'bin', 'node')
  if (existsSync(own)) return own
  return fail(
    `this is Node ${process.versions.node}; otpilot runs on Node ${supported.join(' or ')}, and npm's own copy is missing from node_modules ` +
      '(are install scripts switched off in .npmrc?): install Node 24, or allow install scripts and run "npm ci".',
  )
}

function run(file, args) {
  const loader = pathToFileURL(join(modules, 'tsx', 'dist', 'loader.mjs')).href
  const flags = file.endsWith('.ts') ? ['--import', loader] : []
  const child = spawn(findNode(), [...flags, join(root, file), ...args], {
    cwd: root,
    stdio: 'inherit',
  })
  // The program stops in its own order; this process only passes the wish on and waits for the end.
  for (const signal of stops) process.on(signal, () => child.kill(signal))
  child.once('error', (error) => fail(`${file} could not be started: ${error.message}`))
  child.once('exit', (code, signal) => {
    process.exit(code ?? 128 + (constants.signals[signal] ?? 0))
  })
}

const [file, ...args] = process.argv.slice(2)
if (!isInstalled()) await withInstallLock(install)
run(file, args)
