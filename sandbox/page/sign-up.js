// A sign-up form as any website may have it: all that it knows of otpilot is the address and a publishable key.
import './altcha/altcha.js'

// The widget's strict build brings no worker along: where pages forbid code from strings, it is a file.
globalThis.$altcha.algorithms.set('PBKDF2/SHA-256', () => new Worker('/altcha/pbkdf2.js'))

const $ = (id) => document.getElementById(id)
const widget = $('widget')
let requestId
/** The widget’s answer, from when the box was ticked until it is too old. */
let solved

const settings = await (await fetch('/sign-up/settings')).json()
const headers = {
  Authorization: `Bearer ${settings.publishable_key}`,
  'Content-Type': 'application/json',
}

if (settings.publishable_key === null) {
  tell(
    'This sandbox has no publishable key: npm start gives it one, elsewhere set OTPILOT_PUBLISHABLE_KEY.',
  )
  for (const part of $('ask').elements) part.disabled = true
} else {
  await widget.configure({
    challenge: `${settings.api_url}/otp/challenge?action=send`,
    fetch: (url, options) => fetch(url, { ...options, headers }),
    hideLogo: true,
    hideFooter: true,
  })
}

widget.addEventListener('statechange', ({ detail }) => {
  solved = detail.state === 'verified' ? detail.payload : undefined
})

function tell(sentence) {
  $('fault').textContent = sentence
}

async function post(path, body) {
  const answer = await fetch(settings.api_url + path, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  }).catch(() => undefined)
  if (!answer) return { message: 'The service cannot be reached. Try again in a moment.' }
  const said = await answer.json()
  const seconds = answer.headers.get('retry-after')
  if (seconds !== null) said.message += ` Try again in ${seconds} s.`
  return said
}

/** One step at a time: what is under way cannot be pressed again. */
function onSubmit(form, step) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const button = form.querySelector('[type=submit]')
    button.disabled = true
    tell('')
    await step()
    button.disabled = false
  })
}

onSubmit($('ask'), async () => {
  const number = $('number').value.trim()
  if (number === '') return tell('Type your phone number.')
  const challenge = solved ?? (await widget.verify())?.payload
  if (!challenge) return tell('The challenge could not be solved. Try again in a moment.')
  const sent = await post('/otp/send', { phone_number: number, challenge })
  // Good for one send, whatever came of it.
  widget.reset()
  if (sent.status !== 'sent') return tell(sent.message)
  requestId = sent.request_id
  $('sent-to').textContent = number
  $('phone').href = `/#${encodeURIComponent(number)}`
  show('check')
  $('code').focus()
})

onSubmit($('check'), async () => {
  const checked = await post('/otp/verify', { request_id: requestId, code: $('code').value })
  if (checked.status === 'verified') return show('done')
  // Every refusal looks the same to a page.
  tell(
    checked.status === 'rejected'
      ? 'This code is not right, or not valid any more.'
      : checked.message,
  )
})

$('again').addEventListener('click', () => {
  show('ask')
  $('number').select()
})

function show(part) {
  for (const each of ['ask', 'check', 'done']) $(each).hidden = each !== part
  $('code').value = ''
  tell('')
}
