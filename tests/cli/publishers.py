# ruff: noqa: E501  rows are as long as publishers write them
"""Two requests in each publisher's format, values made up."""

SOURCES = {
    "aiperf": '{"metadata":{"timestamp_ns":1759522419154829652},"metrics":{}}\n'
    '{"metadata":{"timestamp_ns":1759522419654829652},"metrics":{}}\n',
    "huawei": "day,time,0,1\n0,0,1,\n0,60,,1\n",
    "jmeter": 'timeStamp,elapsed,label,success\n1745390589957,66,"POST a, b",true\n1745390590457,10,c,true\n',
    "k6": "metric_name,timestamp,metric_value,name\nhttp_reqs,1595325560,1.0,a\nhttp_reqs,1595325561,1.0,b\n",
    "litellm": "request_id,startTime,endTime,completionStartTime,model,cache_hit\n"
    "r1,2026-11-20T14:03:20.1Z,2026-11-20T14:03:22Z,,qwen,False\n"
    "r2,2026-11-20T14:03:21.1Z,2026-11-20T14:03:22Z,,llama,\n",
    "llama-swap": '[{"id":1,"timestamp":"2026-11-20T14:03:22Z","model":"a","req_path":"/v1","duration_ms":1840},'
    '{"id":2,"timestamp":"2026-11-20T14:03:23Z","model":"b","req_path":"/v1","duration_ms":500}]',
    "localai": "id,created_at,requested_model,served_model\n1,2026-11-20 14:03:22,a,a1\n2,2026-11-20 14:03:23,b,b1\n",
    "mooncake": '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [0]}\n'
    '{"timestamp": 500, "input_length": 1, "output_length": 1, "hash_ids": [0]}\n',
    "nginx": '10.0.0.1 - - [02/Nov/2026:08:00:00 +0100] "POST /v2/models/det/infer HTTP/1.1" 200 5 "-" "x"\n'
    '10.0.0.1 - - [02/Nov/2026:08:00:01 +0100] "POST /v1/models/ocr:predict HTTP/1.1" 200 5 "-" "x"\n',
    "ollama": 'time=2026-11-20T14:03:22.120Z level=DEBUG source=sched.go:1 msg="evaluating already loaded" model=/m/a\n'
    'time=2026-11-20T14:03:23.120Z level=DEBUG source=sched.go:2 msg="loading model via llama-server" model=/m/b\n',
    "otel": '{"resourceSpans":[{"scopeSpans":[{"spans":['
    '{"startTimeUnixNano":"1759522419154829652","attributes":'
    '[{"key":"gen_ai.request.model","value":{"stringValue":"a"}}]},'
    '{"startTimeUnixNano":"1759522419654829652","attributes":'
    '[{"key":"gen_ai.request.model","value":{"stringValue":"b"}}]}]}]}]}\n',
    "triton": '[{"id":1,"model_name":"det","model_version":1},{"id":2,"model_name":"ocr","model_version":1}]\n'
    '[{"id":1,"timestamps":[{"name":"REQUEST_START","ns":5}]},{"id":2,"timestamps":[{"name":"REQUEST_START","ns":6}]}]',
    "localai-traces": '[{"timestamp":"2026-11-20T14:03:20Z","duration":5,"request":{"method":"POST","path":"/v1/chat/completions","body":"eyJtb2RlbCI6ImEifQ=="},"response":{"status":200}},'
    '{"timestamp":"2026-11-20T14:03:20.5Z","duration":5,"request":{"method":"POST","path":"/v1/embeddings","body":"{\\"model\\": \\"b\\"}"},"response":{"status":503}}]',
    "open-webui": '{"chat_id":"c","role":"assistant","model_id":"a","created_at":1763647400,"usage":{"load_duration":3410000000}}\n'
    '{"chat_id":"c","role":"assistant","model_id":"b","created_at":1763647400500,"usage":null}\n',
    "azure-functions": "app,func,end_timestamp,duration\na,f,10.0,1.0\na,g,12.0,2.5\n",
    "azure-llm": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:17:03.9,1,2\n2023-11-16 18:17:04.4,3,4\n",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,1,2,3,c\n5.5,GPT-4,1,2,3,c\n",
    "csv": "time_s,model\n1.0,a\n1.5,b\n",
    "genai-2026": "gmt_create,groupId,num_images_per_prompt,checkpoint_model_version_id\n"
    "2024-11-15 16:57:50,g1,1,M0001\n2024-11-15 16:57:51,g1,2,M0002\n",
    "libcachesim-csv": "time,obj_id,obj_size\n1,1,1048576\n2,2,4194304\n",
    "perf-analyzer": "1000000\n500000\n",
}
