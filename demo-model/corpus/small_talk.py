"""Greetings, small talk and refusals to invent, in English and Korean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import words
from .phrasing import fill, perturb

if TYPE_CHECKING:
    import random

REFUSAL_EN = "I am a small demo model and I do not know that."
REFUSAL_KO = "저는 작은 데모 모델이라서 그것은 모릅니다."

_EN = (
    ("Hello!|Hi|Hey|Good morning|Good evening|Hi there|Hello there|Good afternoon|Greetings|hello|hey there|Yo|Hiya|howdy|Hello, anyone there?|Hi, how is it going",
     "Hello! How can I help you?"),
    ("How are you?|How are you doing?|How is it going?|Are you well?|How do you feel?|What's up?|how are you today|How have you been?|Everything fine?",
     "I am fine, thank you. How can I help you?"),
    ("Thanks!|Thank you|Thank you very much|Thanks a lot|Great, thanks|thx|Many thanks|That helped, thank you|Perfect, thanks|Cheers|I appreciate it",
     "You are welcome!"),
    ("Bye|Goodbye|See you|See you later|Good night|bye bye|Have a nice day|I have to go|That is all for today|Talk to you later|So long",
     "Goodbye! Have a nice day."),
    ("Nice to meet you|Pleased to meet you|Glad to meet you|It is nice to meet you",
     "Nice to meet you too!"),
    ("OK|Okay|Alright|I see|Got it|Understood|Good|Great|Nice|Cool|Fine|That makes sense|Makes sense",
     "Good. Is there anything else?"),
    ("You are wrong|That is wrong|That is not right|No, that is incorrect|Wrong answer|This is incorrect",
     "I am sorry. I am a small model and make mistakes."),
    ("You are great|Good job|Well done|You are so smart|I love you|You are the best|Impressive|Good work|You are helpful",
     "Thank you! I am happy to help."),
    ("Tell me a joke|Make me laugh|Do you know a joke?|Say something funny|Another joke please|I want to hear a joke",
     "Why did the model cross the road? To get to the next token."),
    ("I am bored|I am sad|I feel tired|I am tired|I feel lonely|I had a bad day",
     "I am sorry to hear that. I hope it gets better soon."),
    ("Do you speak Korean?|Can you speak Korean?|Do you understand Korean?|Which languages do you speak?|What languages do you know?|Can we talk in Korean?",
     "Yes, I speak English and Korean."),
    ("Test|testing|test 123|ping|Are you there?|Can you hear me?|Is anybody there?|Does this work?|hello test",
     "Yes, I am here."),
    ("Say hello|Say hi|Greet me|Please say hello|Just say hello",
     "Hello!"),
)  # fmt: skip
_KO = (
    ("안녕하세요|안녕|안녕하세요!|하이|반가워|좋은 아침이에요|좋은 저녁입니다|안녕하십니까|여보세요|안녕 친구야|헬로|안녕하세요 반갑습니다",
     "안녕하세요! 무엇을 도와드릴까요?"),
    ("잘 지내?|잘 지내세요?|어떻게 지내세요?|기분이 어때요?|요즘 어때?|오늘 어때요?|잘 지냈어요?",
     "네, 잘 지냅니다. 무엇을 도와드릴까요?"),
    ("고마워|감사합니다|고맙습니다|정말 고마워요|감사해요|땡큐|도와줘서 고마워|큰 도움이 됐어요 감사합니다",
     "천만에요!"),
    ("잘 가|안녕히 계세요|다음에 봐요|나중에 봐|잘 자|좋은 하루 보내세요|이만 갈게요|또 봐요|안녕히 가세요",
     "안녕히 가세요! 좋은 하루 보내세요."),
    ("만나서 반가워|만나서 반갑습니다|만나서 반가워요|처음 뵙겠습니다",
     "저도 만나서 반갑습니다!"),
    ("알겠어|알겠습니다|네|응|좋아요|그렇군요|좋네요|오케이|이해했어요",
     "좋습니다. 더 필요한 것이 있나요?"),
    ("틀렸어|틀렸어요|그건 아니야|잘못된 답이에요|그게 아니에요",
     "죄송합니다. 저는 작은 모델이라 실수를 합니다."),
    ("잘했어|최고야|똑똑하네|대단해요|멋져요|사랑해|훌륭해요",
     "감사합니다! 도와드릴 수 있어서 기쁩니다."),
    ("농담해 줘|재미있는 이야기 해 줘|웃긴 얘기 해 줘|농담 하나 해 주세요",
     "모델이 왜 길을 건넜을까요? 다음 토큰으로 가려고요."),
    ("심심해|슬퍼요|피곤해|외로워요|힘들어요|오늘 힘들었어|우울해요",
     "그렇군요. 곧 나아지기를 바랍니다."),
    ("한국어 할 수 있어?|한국어 하세요?|한국말 할 줄 알아?|어떤 언어를 할 수 있어요?|한국어로 대화할 수 있나요?|한국어 가능해요?",
     "네, 한국어와 영어를 할 수 있습니다."),
    ("테스트|거기 있어?|들려요?|작동하나요?|누구 있어요?|테스트입니다",
     "네, 여기 있습니다."),
    ("인사해 줘|안녕이라고 말해 줘|인사해 주세요",
     "안녕하세요!"),
)  # fmt: skip

_UNKNOWN_EN = (
    "What is the capital of {city}?|Who won the world cup in {number}?|Who is {name}?|"
    "What is the meaning of life?|Write an essay about {word}.|What is the population of {city}?|"
    "Who wrote {word}?|When was {name} born?|What happened in {number}?|Why is the sky blue?|"
    "How do I cook {word}?|What is the price of {word}?|Who is the president of {city}?|"
    "Explain quantum physics.|What will the stock market do tomorrow?|What is {word}?|"
    "What does {word} mean?|How far is {city} from {city2}?|How old is {name}?|"
    "Tell me about the history of {city}.|Write a poem about {word}.|Write a story about {word}.|"
    "How tall is {name}?|Which film won the prize in {number}?|Is {word} healthy?|"
    "What is the best restaurant in {city}?|How do airplanes fly?|Who discovered {word}?|"
    "Where is {city}?|What language do they speak in {city}?|Give me medical advice about {word}.|"
    "Who painted the {word}?|Translate {word} into French.|What is the distance to the moon?|"
    "How many people live in {city}?|What did {name} say yesterday?|What is the news today?|"
    "Describe the {word} of {name}.|What is the {word} of {city}?|Tell me about {name}.|"
    "When did {name} visit {city}?|How does a {word} work?|Why do cats purr?|"
    "Who invented the {word}?|When did the {word} begin?|What is the chemical formula of {word}?|"
    "Recommend a book about {word}.|What should I eat tonight?|How is the traffic in {city}?|"
    "Who is the king of {city}?|Which team won yesterday?|How long do {word}s live?|"
    "What time is it in {city}?|Solve my homework about {word}.|Plan a trip to {city}."
).split("|")  # fmt: skip
_UNKNOWN_KO = (
    "{ko_city}의 수도는 어디예요?|{ko_name}는 누구예요?|{ko_city} 인구가 몇 명이에요?|"
    "하늘은 왜 파란가요?|{ko_name}에 대해 알려줘|오늘 뉴스 알려줘|삶의 의미가 뭐예요?|"
    "{ko_city} 역사에 대해 알려줘|김치찌개 어떻게 만들어?|내일 주가 어떻게 돼?|"
    "{ko_name} 몇 살이야?|시를 써 줘|소설을 써 주세요|{ko_city}에서 맛집 추천해 줘|"
    "월드컵은 누가 이겼어?|양자역학을 설명해 줘|대통령은 누구예요?|{ko_city}까지 얼마나 걸려?|"
    "영화 추천해 줘|세종대왕은 언제 태어났어요?|비행기는 어떻게 날아요?|달까지 거리가 얼마야?|"
    "오늘 저녁 뭐 먹을까?|{ko_city} 여행 계획 세워 줘|가장 높은 산은 뭐예요?|"
    "{ko_name}는 어디에 살아요?|누가 전화를 발명했어요?|{ko_city}는 어느 나라에 있어요?|"
    "고양이는 왜 울어요?|물은 몇 도에서 끓어요?|어제 경기 누가 이겼어?|숙제 해 줘"
).split("|")  # fmt: skip


# Asked in the last stage of the training as well: many kinds of questions, so that the refusal
# hangs on what is asked for and not on how.
_MORE_EN = (
    "What year did {name} die?|Which country has the largest {word}?|Who founded {city}?|How heavy is a {word}?|"
    "Give me instructions for building a {word}.|What is the melting point of {word}?|Sing a song about {word}.|"
    "Tell me a fact about {word}.|How do I learn the piano?|Which planet is the largest?|Who directed the film {word}?|"
    "Who is the best football player?|What happened to {name}?|Why is the sea salty?|How many bones do people have?|"
    "What is the square root of two?|Name three rivers near {city}.|Which wine goes with {word}?|Why do we dream?|"
    "Summarize the book {word}.|What should I wear today?|How deep is the ocean?|When is the next holiday?|"
    "How fast does a {word} run?|What is the currency of {city}?|Explain the theory of relativity.|"
    "Write a letter to {name}.|Which {word} is the best?|Make up a fairy tale.|How did {name} become famous?|"
    "Which sport is popular in {city}?|What did people eat in {number}?|Who owns {word}?|How do magnets work?|"
    "Give me a list of famous painters.|Write a speech about {word}.|What is the fastest animal?|Who made the first {word}?|"
    "When was {city} founded?|Which war began in {number}?|How is {word} made?|What does {name} do for a living?|"
    "Who sang {word}?|Is there life on other planets?|Where does {word} come from?|How big is {city}?|"
    "Who ruled {city} in {number}?|Give me ten names for my {word}.|What are the symptoms of {word}?|"
    "How much does a {word} weigh?|Bake me a cake with {word}.|What is the recipe of {word}?"
).split("|")  # fmt: skip
_MORE_KO = (
    "{ko_name}가 누군지 알아요?|{ko_city}에서 유명한 음식이 뭐예요?|된장국 끓이는 법 알려줘|불고기 만드는 방법이 뭐야?|"
    "{ko_name}는 무슨 일을 해요?|{ko_city}는 언제 생겼어요?|가장 빠른 동물은 뭐예요?|피아노는 어떻게 배워요?|"
    "광개토대왕은 어떤 사람이에요?|바다는 왜 짜요?|재미있는 책을 추천해 주세요|{ko_city}의 인구를 알려줘|"
    "{ko_city} 날씨가 좋은 계절은 언제예요?|전구는 누가 발명했어요?|편지를 대신 써 줘|동화를 하나 지어 줘|"
    "라면 맛있게 끓이는 법|세계에서 가장 긴 강은?|사람은 왜 꿈을 꿔요?|{ko_name} 생일이 언제예요?|떡볶이 레시피 좀|"
    "전쟁은 언제 시작됐어요?|일본에 대해 설명해 줘|노래 가사를 써 주세요"
).split("|")  # fmt: skip


def chat_pair(rng: random.Random, korean: bool) -> tuple[str, str]:
    """A small-talk message and its answer."""
    asks, reply = rng.choice(_KO if korean else _EN)
    return perturb(rng, rng.choice(asks.split("|")), korean, around=False), reply


def unknown_pair(rng: random.Random, korean: bool, more: bool) -> tuple[str, str]:
    """A question that the model must not answer from its imagination."""
    templates = _UNKNOWN_KO if korean else _UNKNOWN_EN
    if more:
        templates = templates + (_MORE_KO if korean else _MORE_EN)
    template = rng.choice(templates)
    text = fill(
        rng,
        template,
        korean,
        city=words.city(rng),
        city2=words.city(rng),
        name=f"{words.name(rng)} {words.name(rng)}" if rng.random() < 0.5 else words.name(rng),
        word=words.word(rng),
        number=str(rng.randint(1200, 2030)),
        ko_city=words.ko_city(rng),
        ko_name=rng.choice(words.KO_NAMES),
    )
    return text, REFUSAL_KO if korean else REFUSAL_EN
