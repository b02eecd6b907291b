// Opens VS Code in a headless browser, asks its chat what it is told to, and prints what it answers.
// node drive.mjs CHROMIUM URL SCREENSHOT [QUESTION ANSWER]...
import { chromium } from 'playwright-core'

const [executablePath, url, screenshot, ...turns] = process.argv.slice(2)
const PATIENCE = 240_000 // the extensions start one after the other, on a busy machine
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
const page = await browser.newPage({ viewport: { width: 1280, height: 720 } })
page.setDefaultTimeout(PATIENCE)
try {
  await page.goto(url)
  // A click that comes before the window's parts are all there is lost.
  const input = page.locator('.interactive-input-editor .view-lines')
  const until = Date.now() + PATIENCE
  await page.locator('[aria-label="Toggle Chat"]').waitFor()
  while (!(await input.isVisible()) && Date.now() < until) {
    await page.locator('[aria-label="Toggle Chat"]').click()
    await input.waitFor({ timeout: 20_000 }).catch(() => {})
  }
  // Without a login Copilot Chat sleeps until somebody opens its list of models; then it reads
  // ours and chooses the first.
  await page.locator('.chat-input-picker-label', { hasText: 'Auto' }).click()
  await page.getByText('Manage Models...').last().click()
  await page.locator('.chat-input-picker-label', { hasText: 'Local AI Suite' }).waitFor({
    state: 'attached',
  })
  await page.keyboard.press('Escape')
  for (let turn = 0; turn < turns.length; turn += 2) {
    await input.click()
    await page.keyboard.type(turns[turn])
    await page.keyboard.press('Enter')
    await page.locator('.chat-markdown-part', { hasText: turns[turn + 1] }).last().waitFor()
    // It takes no further question before this one has wholly ended.
    await page.locator('.chat-response-loading').waitFor({ state: 'detached' })
  }
  const said = await page.locator('.chat-markdown-part').allInnerTexts()
  console.log(JSON.stringify(said))
} finally {
  await page.screenshot({ path: screenshot })
  await browser.close()
}
