# One mistake a line; prints the exit status before the message.
try() {
  message=$(moe-run "$@" 2>&1 >/dev/null)
  status=$?
  echo "$status: $(printf '%s\n' "$message" | head -n 1)"
}
run="layer.moe --function=scale --weights . --input x=@x.npy"

try
try none.moe
try x.npy
try layer.moe --inputs x=@x.npy
try layer.moe extra
try layer.moe --input x
try layer.moe --input =@x.npy
try layer.moe --input x=x.npy
try layer.moe --input x=@x.txt
try layer.moe --input x=@x.safetensors
try layer.moe --input x=@x.npy --input x=@x.npy
try $run --output y=y.npy
try $run --expect y=@y.npy --rtol tight
try $run --expect y=@y.npy --rtol=-1
try $run --rtol 1
try $run --equal-nan
try $run --threads 0
try $run --max-tokens 1e3
try $run --repeat 0
try $run --timeout 0
try layer.moe --input x=@x.npy
try layer.moe --function scald
try layer.moe --function scale --weights .
try layer.moe --function scale --weights . --input z=@x.npy
try $run --expect z=@y.npy
try layer.moe --function scale --input x=@x.npy
try layer.moe --function misbehave --input mode=@x.npy --record-routing r.safetensors
try layer.moe --function scale --weights . --input x=@xint.npy
try layer.moe --function scale --weights . --input x=@wide.npy
try $run --expect y=@empty.npy
try $run --max-tokens 9
try layer.moe --function scale --weights none --input x=@x.npy
try layer.moe --function scale --weights . --input x=@model.safetensors:y
try layer.moe --function scale --weights . --input x=@bad-id.npy
try $run --output y=none/y.safetensors
try $run --json /dev/full
MOERT_TIMEUOT=3 try $run
MOERT_TIMEOUT=soon try $run
try inspect
try inspect none.moe
