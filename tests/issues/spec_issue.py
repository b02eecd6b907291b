"""The specification's own issue, in the shape that `gh issue view --json ...` prints."""

from __future__ import annotations

from typing import Any

NUMBER = 1
REPOSITORY = "hysuite/local-ai-suite"
BODY = """## 개요\r
\r
로컬에 있는 GGUF 모델을 서빙하고 OpenAI 호환 API로 제공합니다. VS Code,\r
데스크톱 앱, CLI가 같은 주소를 씁니다.\r
\r
## 목표\r
\r
- 추론 서버는 8001 포트, API 게이트웨이는 8000 포트\r
- 채팅 모델: `llama3.1-8b-instruct-q4_k_m.gguf`, 코드 모델: `qwen2.5-coder-7b-q4_k_m.gguf`\r
- 모델 경로는 `/mnt/e/ai-models`, WSL2와 GPU 8GB에서 동작\r
\r
## 작업 항목\r
\r
- [ ] `docker/compose.p1.yml` 작성\r
- [ ] `services/api-gateway/config.p1.yaml` 작성\r
- [ ] `scripts/ai.py` CLI 클라이언트\r
- [x] 저장소 만들기\r
- [ ] README 업데이트\r
\r
## 완료 기준\r
\r
- 채팅 응답 첫 토큰 3초 이내\r
- `make up-p1` 이후 5분 안에 두 포트가 응답\r
- GPU 메모리 사용량 8GB 이하\r
- `curl http://localhost:8000/v1/models` 가 모델을 보여 줌\r
"""

ANSWER: dict[str, Any] = {
    "title": "[Feature] Phase 1: 기본 모델 서빙 + OpenAI 호환 API 구축",
    "body": BODY,
    "labels": [
        {"id": "LA_1", "name": "enhancement", "description": "New feature", "color": "a2eeef"},
        {"id": "LA_2", "name": "priority: high", "description": "", "color": "d73a4a"},
    ],
    "assignees": [{"id": "U_1", "login": "hyun", "name": "Hyun"}],
    "milestone": {"number": 1, "title": "Phase 1", "description": "", "dueOn": None},
    "state": "OPEN",
    "createdAt": "2025-07-30T02:11:09Z",
    "updatedAt": "2025-07-31T12:40:55Z",
    "comments": [
        {
            "id": "IC_1",
            "author": {"login": "reviewer"},
            "authorAssociation": "MEMBER",
            "body": "`models/README.md` 도 확인해 주세요. 예전 파일 src/old_server.py 는 없습니다.",
            "createdAt": "2025-07-30T05:00:00Z",
            "url": "https://github.com/hysuite/local-ai-suite/issues/1#issuecomment-1",
        }
    ],
}

FILES = {
    "docker/compose.p1.yml": "services:\n  inference:\n    image: local\n",
    "services/api-gateway/config.p1.yaml": "model_list: []\n",
    "scripts/ai.py": "print('모델 서빙')\n",
    "src/suite/server.py": "PORT = 8001  # 추론\n\n\ndef serve_model(path):\n    return path\n",
    "src/suite/gateway.py": "PORT = 8000  # OpenAI 호환 게이트웨이\n",
    "models/README.md": "GGUF 모델을 여기에 둡니다.\n",
    "README.md": "# Local AI Suite\n",
    "tests/test_server.py": "def test_serves_the_model():\n    assert True\n",
}
