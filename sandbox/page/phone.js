'use strict'

const labels = { sms: 'SMS', voice: 'Call', whatsapp: 'WhatsApp', ussd: 'USSD', email: 'E-mail' }
const filters = {
  all: 'All',
  sms: 'SMS',
  whatsapp: 'WhatsApp',
  voice: 'Calls',
  ussd: 'USSD',
  email: 'Mail',
}
const bad = new Set(['failed', 'declined', 'expired'])
const ticks = { accepted: '✓', queued: '✓', sent: '✓', delivered: '✓✓', read: '✓✓' }

const phone = {
  number: '',
  entries: new Map(),
  /** @type {string[]} */
  ringing: [],
  inCall: '',
  ussdWaiting: false,
  serviceCode: '',
}
let filter = 'all'
let stream

const $ = (id) => document.getElementById(id)

/** Text only: what a message holds never becomes markup. */
function element(tag, attributes, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name, value)
    else node.setAttribute(name, value)
  }
  node.append(...children)
  return node
}

async function post(path, body = {}) {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) })
  return answer.status === 200 ? answer.json() : undefined
}

/** 233241234567 is easier to compare as +233 24 123 4567. */
function pretty(address) {
  const digits = /^\+233(\d{2})(\d{3})(\d{4})$/.exec(address)
  return digits ? `+233 ${digits[1]} ${digits[2]} ${digits[3]}` : address
}

const timeOf = (at) =>
  new Date(at).toLocaleTimeString([], {
    hour12: false,
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  })

/* The list of phones */

function showList(list) {
  const rows = list.map(({ number, channel, at }) =>
    phoneButton(number, `${labels[channel]} at ${timeOf(at)}`),
  )
  $('recent').replaceChildren(...rows)
  $('recent-empty').hidden = rows.length > 0
}

function phoneButton(number, note) {
  const button = element(
    'button',
    { type: 'button', click: () => open(number), 'aria-current': String(number === phone.number) },
    element('strong', {}, pretty(number)),
    element('span', {}, note),
  )
  button.dataset.number = number
  return element('li', {}, button)
}

function markCurrent() {
  for (const button of document.querySelectorAll('.list button')) {
    button.setAttribute('aria-current', String(button.dataset.number === phone.number))
  }
}

/* One phone */

/** @param isNamed the page's address names this phone already, perhaps in another spelling */
function open(address, isNamed = false) {
  stream?.close()
  const path = `/phones/${encodeURIComponent(address)}/events`
  stream = new EventSource(path)
  stream.addEventListener('phone', ({ data }) => {
    const { number, entries, ...state } = JSON.parse(data)
    if (phone.number !== number) phone.inCall = ''
    phone.number = number
    phone.entries = new Map(entries.toReversed().map((entry) => [entry.id, entry]))
    const hash = `#${encodeURIComponent(number)}`
    // Another entry of the history would lead back to this same phone.
    if (isNamed) history.replaceState(null, '', hash)
    else location.hash = hash
    $('choose-error').textContent = ''
    setState(state)
    markCurrent()
  })
  stream.addEventListener('entry', ({ data }) => {
    const entry = JSON.parse(data)
    phone.entries.set(entry.id, entry)
    draw()
  })
  stream.addEventListener('state', ({ data }) => setState(JSON.parse(data)))
  stream.addEventListener('open', () => setLink(true))
  stream.addEventListener('error', () => {
    setLink(false)
    if (stream.readyState !== EventSource.CLOSED) return
    $('choose-error').textContent = 'Enter an international number or an e-mail address.'
  })
}

function setLink(isLive) {
  $('link').dataset.live = String(isLive)
  $('link').textContent = isLive ? '● live' : 'connecting …'
}

function setState({ ringing, ussd_waiting, service_code, service_codes }) {
  phone.ringing = ringing
  phone.ussdWaiting = ussd_waiting
  phone.serviceCode = service_code
  if ($('service').value === '') $('service').value = service_code
  $('services').replaceChildren(...service_codes.map((value) => element('option', { value })))
  draw()
}

function draw() {
  $('owner').textContent = pretty(phone.number)
  const shown = [...phone.entries.values()].filter(isShown)
  const timeline = $('timeline')
  timeline.replaceChildren(...shown.map(drawEntry))
  timeline.scrollTop = timeline.scrollHeight
  const isMailbox = phone.number.includes('@')
  $('dialler').hidden = isMailbox
  $('reply').hidden = isMailbox
  $('dialler').dataset.waiting = String(phone.ussdWaiting)
  $('hint').textContent = hintFor(shown.length)
  drawCall()
}

/** A call that still rings is on the overlay; the log gets it when it is over. */
function isShown({ id, channel }) {
  if (phone.ringing.includes(id)) return false
  return filter === 'all' || filter === channel
}

function hintFor(count) {
  if (phone.ussdWaiting) return `A code waits: dial ${phone.serviceCode} below.`
  return count > 0 ? '' : 'Nothing yet. Messages appear here by themselves.'
}

function drawEntry(entry) {
  const spoken = entry.channel !== 'voice' || entry.status === 'answered'
  const bubble = element('div', { class: 'bubble' }, ...titleOf(entry))
  // As phones do: a text runs from the side that its first letter is from.
  bubble.dir = 'auto'
  if (spoken) bubble.append(entry.text)
  const item = element(
    'li',
    { class: 'item', 'data-channel': entry.channel, 'data-id': entry.id },
    element(
      'div',
      { class: 'meta' },
      `${labels[entry.channel]} · ${entry.provider} · ${timeOf(entry.at)}`,
    ),
    bubble,
  )
  if (spoken) item.append(copyButton(entry.code))
  item.append(drawFoot(entry))
  return item
}

function titleOf({ channel, status }) {
  if (channel !== 'voice') return []
  const titles = { answered: 'Answered call', declined: 'Declined call' }
  return [element('header', {}, `☎ ${titles[status] ?? 'Missed call'}`)]
}

function copyButton(code) {
  const note = element('small', {}, 'Copy')
  const copy = async () => {
    await navigator.clipboard?.writeText(code)
    note.textContent = 'Copied'
  }
  const label = `Copy the code ${[...code].join(' ')}`
  return element(
    'button',
    { type: 'button', class: 'copy', 'aria-label': label, click: copy },
    element('span', { class: 'code' }, code),
    note,
  )
}

function drawFoot({ status, outcome }) {
  const mark = bad.has(status) ? '✕' : (ticks[status] ?? '✓✓')
  const attributes = { class: 'ticks', 'data-status': status, 'data-bad': String(bad.has(status)) }
  const foot = element('div', { class: 'foot' }, element('span', attributes, `${mark} ${status}`))
  if (outcome === 'verified') foot.append(element('span', { class: 'verified' }, '✓ Verified'))
  return foot
}

/* Calls */

function drawCall() {
  const id = phone.inCall || phone.ringing.at(-1)
  const entry = id && phone.entries.get(id)
  const overlay = $('call')
  const wasHidden = overlay.hidden
  overlay.hidden = !entry
  document.title = entry && !phone.inCall ? '☎ Incoming call' : 'Sandbox phone'
  if (!entry) return
  const isRinging = !phone.inCall
  overlay.dataset.ringing = String(isRinging)
  $('call-title').textContent = isRinging ? 'Incoming call' : 'In call'
  $('call-from').textContent = `Verification call by ${entry.provider}`
  $('call-text').textContent = isRinging ? '' : `“${entry.text}”`
  $('call-code').textContent = isRinging ? '' : entry.code
  $('answer').hidden = !isRinging
  $('decline').textContent = isRinging ? 'Decline' : 'Hang up'
  if (wasHidden) $('answer').focus()
}

async function answerCall() {
  phone.inCall = phone.ringing.at(-1) ?? ''
  draw()
  await post(`/calls/${phone.inCall}/answer`)
}

async function endCall() {
  const ringing = phone.inCall ? undefined : phone.ringing.at(-1)
  phone.inCall = ''
  draw()
  if (ringing) await post(`/calls/${ringing}/decline`)
}

/* USSD */

/** What was dialled, and what was typed since. */
let session

async function dial(event) {
  event.preventDefault()
  session = { service_code: $('service').value, inputs: [] }
  await showScreen()
}

async function answerMenu(event) {
  event.preventDefault()
  session.inputs.push($('choice').value.trim())
  await showScreen()
}

async function showScreen() {
  const asked = session
  $('screen-text').textContent = 'USSD code running …'
  $('menu').hidden = true
  $('screen').hidden = false
  $('screen-close').focus()
  const screen = await post(`/phones/${encodeURIComponent(phone.number)}/dial`, asked)
  // The user may have hung up, and dialled again, meanwhile.
  if (asked !== session) return
  $('screen-text').textContent = screen?.message ?? 'Connection problem or invalid MMI code.'
  const goesOn = screen?.ends === false
  $('menu').hidden = !goesOn
  $('screen-close').textContent = goesOn ? 'Cancel' : 'OK'
  if (!goesOn) return
  asked.session_id = screen.session_id
  $('choice').value = ''
  $('choice').focus()
}

function closeScreen() {
  session = undefined
  $('screen').hidden = true
}

/* Replies */

async function reply(event) {
  event.preventDefault()
  const field = $('answer-text')
  const path = `/phones/${encodeURIComponent(phone.number)}/messages`
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ text: field.value })
  const { status } = await fetch(path, { method: 'POST', headers, body })
  $('hint').textContent = status === 204 ? `Sent: ${field.value}` : 'Not sent.'
  if (status === 204) field.value = ''
}

/* Start */

for (const [name, label] of Object.entries(filters)) {
  const choose = () => {
    filter = name
    for (const button of $('filters').children) {
      button.setAttribute('aria-pressed', String(button.textContent === label))
    }
    if (phone.number) draw()
  }
  const attributes = { type: 'button', 'aria-pressed': String(name === filter), click: choose }
  $('filters').append(element('button', attributes, label))
}
$('choose').addEventListener('submit', (event) => {
  event.preventDefault()
  const number = $('number').value.trim()
  if (number) open(number)
})
$('answer').addEventListener('click', () => void answerCall())
$('decline').addEventListener('click', () => void endCall())
$('dialler').addEventListener('submit', (event) => void dial(event))
$('reply').addEventListener('submit', (event) => void reply(event))
$('menu').addEventListener('submit', (event) => void answerMenu(event))
$('screen-close').addEventListener('click', closeScreen)
$('hint').textContent = 'Enter a number, or pick one of the list, to hold its phone in your hand.'

const tick = () => {
  $('clock').textContent = new Date().toLocaleTimeString([], {
    hour12: false,
    hour: '2-digit',
    minute: '2-digit',
  })
}
tick()
setInterval(tick, 10_000)

new EventSource('/phones/events').addEventListener('phones', ({ data }) =>
  showList(JSON.parse(data)),
)
void fetch('/numbers')
  .then((answer) => answer.json())
  .then((numbers) => {
    const rows = numbers.map(({ number, behaviour }) => phoneButton(number, behaviour))
    $('reserved').replaceChildren(...rows)
  })

/** The phone that the address of this page names; it may be changed by hand, by a link, and by going back. */
function openNamed() {
  // Reads a stray % as it is, where decodeURIComponent would throw.
  const hash = location.hash.slice(1).replaceAll('+', '%2B').replaceAll('&', '%26')
  const named = new URLSearchParams(`number=${hash}`).get('number')
  if (named !== '' && named !== phone.number) open(named, true)
}

window.addEventListener('hashchange', openNamed)
openNamed()
