Feature: Phase 1, models behind an OpenAI-compatible API
  The specification's scenarios, against the really running stack.

  Scenario: The services start
    Given a GGUF model in models/
    When I run "make up-p1"
    Then the command succeeds and names the address
    And every service is healthy

  Scenario: The models are listed
    Given the stack is up
    When I GET /v1/models
    Then the answer is 200
    And local-chat and local-code are listed with their context size

  Scenario: A chat answer, not streamed
    Given the stack is up
    When I ask local-chat without a key
    Then the answer is 200
    And it holds text, a finish reason and usage

  Scenario: A chat answer, streamed
    Given the stack is up
    When I ask local-chat for a stream
    Then the chunks come one by one and end with [DONE]
    And together they say the same as the answer that is not streamed

  Scenario: The OpenAI SDK connects
    Given the stack is up
    When the OpenAI SDK asks local-chat, streamed and not
    Then both answers hold the same text

  Scenario: A web page cannot reach the models
    Given the stack is up
    When a page from another site asks local-chat
    Then the answer is 403

  Scenario: A second start changes nothing
    Given the stack is up
    When I run "make up-p1"
    Then the command says that it is already up

  Scenario: A killed engine comes back
    Given the stack is up
    When the engine of local-chat is killed
    Then local-chat answers again
    And the status says why it was away

  Scenario: A killed service comes back
    Given the stack is up
    When the gateway is killed
    Then local-chat answers again

  Scenario: No GPU, so the CPU serves
    Given this machine has no GPU
    When I run "make up-p1"
    Then the preflight warns about the GPU and does not fail
    And local-chat answers again
    And no layer of it lies on a GPU

  Scenario: The performance report
    Given the stack is up
    When I measure the stack with "lais bench"
    Then the report judges each criterion of the specification

  Scenario: Down cleans up
    Given the stack is up
    When I run "make down"
    Then no process and no port of it is left
    And a second "make down" says that nothing was running

  Scenario: A crash of everything is recovered from
    Given the stack is up
    When everything is killed at once
    And I run "make up-p1"
    Then the command succeeds and names the address
    And local-chat answers again

  Scenario: The embedded default
    Given models/ is empty
    When I run "make up-p1"
    Then the command says that the demo model serves and how to get a real one
    And local-chat answers again

  Scenario: A configured model that is not there is never replaced by the demo
    Given .env names a CHAT_MODEL that does not exist
    When I run "make up-p1"
    Then the command fails and names the file and what to do
    And no process and no port of it is left

  Scenario: A truncated model is found before it is loaded
    Given models/ holds a truncated GGUF as CHAT_MODEL
    When I run "make up-p1"
    Then the command fails and names the file and what to do
    And no process and no port of it is left

  Scenario: A port in use names its holder
    Given the gateway's port is taken by another program
    When I run "make up-p1"
    Then the command fails, naming the program and API_GATEWAY_PORT
    And no process of it is left

  Scenario: A later phase says that it is not built yet
    When I run "make up-p2"
    Then the command fails and says "not built yet"
