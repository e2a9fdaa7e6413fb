// RUN: moe-opt %s --convert-hopper-to-nvvm --canonicalize --cse --split-input-file | FileCheck %s

// Words of 64 columns, two of weights and two of padding are 272 bytes of a stage.
// CHECK-LABEL: func.func @words_beside_a_stage
func.func @words_beside_a_stage(%factors: !hopper.factors<3, 64>, %position: i32, %index: i32, %value: f32) -> f32 {
  // CHECK: %[[STAGE:.*]] = arith.remui %arg1, %c3_i32
  // CHECK: %[[BYTE:.*]] = arith.muli %[[STAGE]], %c272_i32
  // CHECK: %[[BASE:.*]] = llvm.getelementptr %arg0[%[[BYTE]]]
  // CHECK: %[[AT:.*]] = arith.shli %arg2, %c2_i32
  // CHECK: %[[WORD:.*]] = llvm.getelementptr %[[BASE]][%[[AT]]]
  // CHECK: llvm.store %arg3, %[[WORD]] : f32, !llvm.ptr<3>
  hopper.write_factor %value, %factors[%position] at %index : !hopper.factors<3, 64>
  // Weights stand behind the columns.
  // CHECK: %[[BEHIND:.*]] = arith.addi %[[AT]], %c256_i32
  // CHECK: %[[PLACE:.*]] = llvm.getelementptr %[[BASE]][%[[BEHIND]]]
  // CHECK: llvm.load %[[PLACE]] : !llvm.ptr<3> -> f32
  %weight = hopper.read_factor %factors[%position] of %index : !hopper.factors<3, 64>
  return %weight : f32
}

// -----

// A lane's two columns come together; registers 0 and 1 are of a row of gate, 2 and 3 of one of up.
// CHECK-LABEL: func.func @sums_in_other_units
func.func @sums_in_other_units(%values: !hopper.fragment<64x8>, %factors: !hopper.factors<3, 64>, %position: i32, %gate: f32, %up: f32)
    -> !hopper.fragment<64x8> {
  // CHECK: %[[PAIR:.*]] = llvm.load %{{.*}} {alignment = 8 : i64} : !llvm.ptr<3> -> vector<2xf32>
  // CHECK: %[[FIRST:.*]] = llvm.extractelement %[[PAIR]][%c0_i32
  // CHECK: %[[GATE:.*]] = arith.mulf %[[FIRST]], %arg6
  // CHECK: %[[UP:.*]] = arith.mulf %[[FIRST]], %arg7
  // CHECK: %[[R0:.*]] = arith.mulf %arg0, %[[GATE]]
  // CHECK: %[[R2:.*]] = arith.mulf %arg2, %[[UP]]
  // CHECK: return %[[R0]], %{{.*}}, %[[R2]], %{{.*}} : f32, f32, f32, f32
  %next = hopper.apply_factors %values, %factors[%position] by %gate, %up : !hopper.fragment<64x8>, !hopper.factors<3, 64>
  return %next : !hopper.fragment<64x8>
}
