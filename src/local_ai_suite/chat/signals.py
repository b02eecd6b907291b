"""The words and forms that make a question one about code, in English and Korean.

Each text holds regular expressions separated by `` | ``; see ``choose.py`` for how they count.
A word that people also use away from a keyboard ("react", "poetry", "pointers") is a weak sign by
itself, and a strong one only in a phrase or a spelling that programmers alone use.
"""

from __future__ import annotations

TERMS = r"""
refactor\w* | unit tests? | linked lists? | regex\w* | regular expressions? | stack ?trace
segmentation fault | segfault | null pointer | compil(?:e|er|ation) errors? | syntax error
runtime error | type error | pull request | merge conflict | time complexity | big[- ]o
quicksort | binary search | hash ?map | for loop | while loop | data structures? | sql
bash (?:script|command|function|one-liner|shell)s?
shell script | api endpoints? | rest api | unittest | async(?:hronous)? function
abstract class | memory leak | race condition | deadlock | stdin | stdout | docker ?compose
codebase | source code | boilerplate code | dependency injection | recursi(?:on|ve)
debug(?:ger|ging)? | arrays? | parsers? | thread[- ]safe\w* | multi-?thread\w* | mutex
garbage collect\w* | closures? (?:to|in|and|work) | explain closures | python decorators?
list comprehensions? | iterators? | virtual env\w* | venv
(?:last|git|initial) commit | (?:squash|revert|amend|cherry-pick) commits? | databases?
booleans? | backend | frontend | async
async/await | reverse a string | (?:web )?(?:scraper|crawler)s? | goroutines? | monads? | functors?
polymorphism | dependency inversion | containers? exits? | one-liners? | tcp | udp | sockets?
port \d{2,5} | localhost | key exists | dictionary key | key in a dictionary | type hints?
src/ | stack overflow | heap size | pointer arithmetic | smart pointers? | explain pointers
enums? | structs? | lambdas? | subprocess
concurren\w+ | big endian | bitwise | hexadecimal | binary tree | linked list
object-oriented | design patterns? | singleton | unix | posix | makefile | docker\w* | kubectl
crash dump | core dump | command line | cli | sdk
sort (?:a|an|the) (?:map|list|dict\w*|slice|vector) | (?:tests?|build) (?:fails?|pass(?:es)?)
ci/cd | cannot import | import error | undefined reference | chmod | grep | sed | awk
cron ?job | ssh | env(?:ironment)? variables? | jwt | oauth | cors | http | orm | csv | xml
utf-8 | programming | programmer | coding | software | linter | ide | type inference
middleware | schema | websockets? | off-by-one | null reference | semaphores? | npm | 404 from
rest endpoints?
(?:pip|npm|cargo|poetry|brew|conda) (?:install|add|build|run|test|lock|update)
uv (?:add|sync|run|lock|pip) | circular imports?
"""
TOOLS = r"""
numpy | pandas | pytest | pytorch | tensorflow | django | fastapi | express\.?js | cuda
node\.?js | vue | svelte | spring boot | kubernetes | docker | nginx | npm | rails
gradle | webpack | vite | eslint | conda | linux | ubuntu
aws | terraform | llama\.cpp | git | github | postgres\w* | mysql | sqlite | redis
javascript | typescript | css | html | json | yaml | c\+\+ | c# | golang | kotlin | php
graphql
"""
# Written as a name inside a sentence they are the tool; at its start, or in small letters, perhaps.
NAMED_TOOLS = r"""
React | Flask | Angular | Maven
"""
KOREAN_TERMS = r"""
리팩[터토]링 | 단위 ?테스트 | 정규 ?(?:식|표현식) | 컴파일 | 디버[그깅] | 버그
(?:이|위|저|아래|예제) ?코드
코드(?:를|의|로|가|에서)? ?(?:리뷰|작성|짜|설명|수정|고쳐|분석|버그) | 소스 ?코드
(?:이|그|저) 함수 | 함수(?:를|로)? ?(?:작성|만들|구현|짜) | 시간 ?복잡도 | 알고리[즘듬] | 재귀
쿼리 | 메모리 ?누수 | 엔드포인트 | 스택 ?트레이스 | 예외 ?처리 | 자료 ?구조
(?:쉘|셸|배시) ?스크립트 | 클래스 ?(?:상속|구조|다이어그램) | 상속 ?구조 | 변수 | 연결 ?리스트
스프링 ?부트 | 파이썬 | 자바 ?스크립트 | 타입 ?스크립트 | 리액트 | 도커 | 쿠버네티스 | 깃허브
깃\s | C ?언어 | 포인터 | 컨트롤러 | 커밋 | 데이터 ?베이스 | 배열 | 문자열 | 프로그래밍
개발 ?환경 | 딕셔너리 | (?:for|while|if|switch) ?문 | 크롤러 | 크롤링 | 비동기 | 동기화
타입 ?힌트 | 포트 ?\d+ | 파싱 | 널 ?포인터 | 스레드 | 소켓 | 객체 ?지향 | 디자인 ?패턴
이진 ?트리 | 해시 ?맵 | 람다 | 제네릭 | 스택 ?오버플로
웹 ?(?:서버|사이트|페이지|앱) ?(?:만들|개발|구현) | 앱 ?개발 | 명령줄 | 리눅스 ?명령
에러 ?메시지 | (?:이|그) 스크립트 | 파일을 .{0,20}읽 | 함수 | 메서드 | 메소드 | 깃에서 | 깃으로
브랜치 | 로그인 ?기능 | 백엔드 | 프론트 ?엔드 | 프론트엔드 | 서버 ?(?:오류|에러|구축) | 터미널
가상 ?환경 | 라이브러리 | 고루틴 | 쓰레드 | 싱글[톤턴] | 의존성 ?주입 | 머지 ?충돌 | 깃 ?충돌
"""
WEAK_LANGUAGES = r"""
python | java | rust | go | swift | ruby | scala | perl | lua | dart | haskell | express | C
react | flask | angular | maven | cargo | poetry
pip | uv | bash
"""
WEAK_WORDS = r"""
code | coding | function | method | class | interface | variable | array | loop | string
integer | boolean | object | module | library | framework | api | server | database | query
index | script | compile | program | algorithm | parser? | exception | thread | async | await
mock | bug | endpoint | component | repository | commit | branch | diff | deploy | backend
frontend | test | decorator | pointer | generics? | callback | runtime | heap | boilerplate
closure | package | app | promise
"""
WEAK_ACTS = r"""
implement | fix | optimi[sz]e | parse | rename | import
"""
WEAK_KOREAN = r"""
코드 | 함수 | 메서드 | 메소드 | 클래스 | 인터페이스 | 배열 | 반복문 | 문자열 | 객체 | 모듈
라이브러리 | 프레임워크 | API | 서버 | 데이터베이스 | 스크립트 | 프로그램 | 에러 | 오류 | 예외
구현 | 자바 | 러스트 | 고랭 | 테스트 | 배포
"""
# Only look like programming; taken out of a question before it is judged.
NOT_CODE = r"""
\bcode of conduct\b | \bfirst[- ]class\b | \bworld class\b | \byoga class\w*\b | \bcode name\b
\b(?:dress|zip|area|postal|country|penal|civil|building|morse|promo|qr|discount|tax) codes?\b
\buv (?:index|light|lamps?|rays?|filters?|radiation|protection)\b
\btests? (?:tomorrow|next week|on (?:mon|tues|wednes|thurs|fri|satur)day)\b
\b(?:daughter|son|kid|child|children|teacher|dance)(?:'?s'?)? class(?:es)?\b
(?:드레스|우편번호|지역|국가|할인|색상|바|큐알|QR)\s?코드 | (?:요가|필라테스|원데이|쿠킹)\s?클래스
"""

SUFFIXES = """
py pyi ipynb js mjs cjs ts tsx jsx java kt kts c h cc cpp cxx hpp cs go rs rb php swift scala sh
bash zsh ps1 bat sql html css scss vue svelte lua r jl dart ex exs erl hs ml clj zig nim gradle
cmake mk tf proto graphql diff patch toml yaml yml
"""

CODE = r"""
^\s*(?:def|class|import|from|function|const|let|var|public|private|#include|fn|func)\s+\w+.*[(:{;=]
\b\w+\((?!e?s\))[!-(*-~]*\) | [{};]\s*$ | => | ->\s*\w+ | !==? | && | \|\| | \^\\d
\bselect\b.{1,200}\bfrom\b.{1,200}(?:\bwhere\b|;) | \bfor \w+ in range\b
"""


def joined(text: str) -> str:
    """One regular expression out of a text of this module."""
    parts = [part for line in text.strip().splitlines() for part in line.split(" | ")]
    return "|".join(parts)


def korean(text: str) -> str:
    """The same for Korean words: they may stand inside a word, their Latin letters may not."""
    at_start = "(?:(?<![A-Za-z0-9])|(?![A-Za-z0-9]))"
    at_end = "(?:(?![A-Za-z0-9])|(?<![A-Za-z0-9]))"
    return f"{at_start}(?:{joined(text)}){at_end}"
