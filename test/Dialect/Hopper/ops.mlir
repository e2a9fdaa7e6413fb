// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

!ring = !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>

// CHECK-LABEL: func.func @producer
func.func @producer(%shared: !llvm.ptr<3>, %map: !llvm.ptr, %position: i32, %column: i32, %row: i32) {
  // CHECK: %[[RING:.*]] = hopper.ring %{{.*}} at 65536 : !hopper.ring<3, <128x64xbf16>, <256x64xbf16>>
  %ring = hopper.ring %shared at 65536 : !ring
  // CHECK: hopper.init_ring %[[RING]] fill 1 drain 8
  hopper.init_ring %ring fill 1 drain 8 : !ring
  // CHECK: hopper.acquire %[[RING]][%{{.*}}]
  hopper.acquire %ring[%position] : !ring
  // CHECK: hopper.expect %[[RING]][%{{.*}}] tiles [0, 1]
  hopper.expect %ring[%position] tiles [0, 1] : !ring
  // CHECK: hopper.tma_load %[[RING]][%{{.*}}] tile 1, %{{.*}}[%{{.*}}, %{{.*}}]
  hopper.tma_load %ring[%position] tile 1, %map[%column, %row] : !ring
  // CHECK: hopper.tma_load %[[RING]][%{{.*}}] tile 1, %{{.*}}[%{{.*}}, %{{.*}}] blocked
  hopper.tma_load %ring[%position] tile 1, %map[%column, %row] blocked : !ring
  return
}

// CHECK-LABEL: func.func @gathering_producer
func.func @gathering_producer(%shared: !llvm.ptr<3>, %tokens: !llvm.ptr, %index: !llvm.ptr,
                              %position: i32, %column: i32, %row: i32, %end: i32) {
  %ring = hopper.ring %shared at 0 : !ring
  // CHECK: %[[ROWS:.*]] = hopper.gather_rows %{{.*}}[%{{.*}}] from %{{.*}} below %{{.*}} pitch 4096 : !hopper.gathered<128x64xbf16>
  %rows = hopper.gather_rows %tokens[%index] from %row below %end pitch 4096
      : !hopper.gathered<128x64xbf16>
  // CHECK: hopper.gather_load %{{.*}}[%{{.*}}] tile 0, %[[ROWS]][%{{.*}}] of 4096
  hopper.gather_load %ring[%position] tile 0, %rows[%column] of 4096
      : !ring, !hopper.gathered<128x64xbf16>
  // CHECK: hopper.commit %{{.*}}[%{{.*}}]
  hopper.commit %ring[%position] : !ring
  return
}

// CHECK-LABEL: func.func @consumer
func.func @consumer(%shared: !llvm.ptr<3>, %map: !llvm.ptr, %scale: !llvm.ptr, %position: i32,
                    %consumer: i32, %column: i32, %row: i32, %count: i32) {
  %ring = hopper.ring %shared at 65536 : !ring
  // CHECK: %[[OUT:.*]] = hopper.staging %{{.*}} at 0 of %{{.*}} : !hopper.staging<4, <64x64xbf16>>
  %out = hopper.staging %shared at 0 of %consumer : !hopper.staging<4, <64x64xbf16>>
  // CHECK: hopper.wait_full %{{.*}}[%{{.*}}] : !hopper.ring
  hopper.wait_full %ring[%position] : !ring
  // CHECK: hopper.wait_full %{{.*}}[%{{.*}}] gathered : !hopper.ring
  hopper.wait_full %ring[%position] gathered : !ring
  // CHECK: %[[FIRST:.*]] = hopper.mma %{{.*}} lhs 0 from %{{.*}} rhs 1 : {{.*}} -> !hopper.acc<64x256>
  %first = hopper.mma %ring[%position] lhs 0 from %row rhs 1 : !ring -> !hopper.acc<64x256>
  // CHECK: %[[NEXT:.*]] = hopper.mma %{{.*}} lhs 0 from %{{.*}} rhs 1 into %[[FIRST]]
  %next = hopper.mma %ring[%position] lhs 0 from %row rhs 1 into %first : !ring -> !hopper.acc<64x256>
  // CHECK: hopper.mma_throttle 1
  hopper.mma_throttle 1
  // CHECK: %[[VALUES:.*]] = hopper.mma_wait %[[NEXT]] : !hopper.acc<64x256> -> !hopper.fragment<64x256>
  %values = hopper.mma_wait %next : !hopper.acc<64x256> -> !hopper.fragment<64x256>
  // CHECK: hopper.release %{{.*}}[%{{.*}}]
  hopper.release %ring[%position] : !ring
  // CHECK: %[[WEIGHTS:.*]] = hopper.load_slice %{{.*}}[%{{.*}}] below %{{.*}} : !hopper.slice<rows, 64x256>
  %weights = hopper.load_slice %scale[%row] below %count : !hopper.slice<rows, 64x256>
  // CHECK: %[[SCALED:.*]] = hopper.epilogue %[[VALUES]], %[[WEIGHTS]] {
  // CHECK:   hopper.yield
  // CHECK: } : (!hopper.fragment<64x256>, !hopper.slice<rows, 64x256>) -> !hopper.fragment<64x256>
  %scaled = hopper.epilogue %values, %weights {
  ^bb0(%x: f32, %w: f32):
    %y = arith.mulf %x, %w : f32
    hopper.yield %y
  } : (!hopper.fragment<64x256>, !hopper.slice<rows, 64x256>) -> !hopper.fragment<64x256>
  // CHECK: hopper.store_tile %[[SCALED]], %[[OUT]], %{{.*}}[%{{.*}}, %{{.*}}] rows %{{.*}} : !hopper.fragment<64x256>, !hopper.staging<4, <64x64xbf16>>
  hopper.store_tile %scaled, %out, %map[%column, %row] rows %count
      : !hopper.fragment<64x256>, !hopper.staging<4, <64x64xbf16>>
  // CHECK: hopper.drain_stores
  hopper.drain_stores
  return
}

// CHECK-LABEL: func.func @paired_rows
func.func @paired_rows(%values: !hopper.fragment<64x32>, %out: !hopper.staging<1, <32x32xbf16>>,
                       %map: !llvm.ptr, %column: i32, %row: i32, %count: i32) {
  // CHECK: hopper.epilogue %{{.*}} pair rows {
  // CHECK: } : (!hopper.fragment<64x32>) -> !hopper.fragment<32x32>
  %y = hopper.epilogue %values pair rows {
  ^bb0(%gate: f32, %up: f32):
    %product = arith.mulf %gate, %up : f32
    hopper.yield %product
  } : (!hopper.fragment<64x32>) -> !hopper.fragment<32x32>
  // CHECK: hopper.store_tile {{.*}} transposed : !hopper.fragment<32x32>, !hopper.staging<1, <32x32xbf16>>
  hopper.store_tile %y, %out, %map[%column, %row] rows %count transposed
      : !hopper.fragment<32x32>, !hopper.staging<1, <32x32xbf16>>
  return
}

// CHECK-LABEL: func.func @schedule
func.func @schedule(%offsets: !llvm.ptr, %tile: i32, %expert: i32, %first: i32) {
  // CHECK: hopper.next_tile %{{.*}}, %{{.*}} from %{{.*}}, %{{.*}} experts 8 columns 4096 tile 128x256 pass 16 rotate
  %valid, %e, %f, %row, %end, %column = hopper.next_tile %offsets, %tile from %expert, %first
      experts 8 columns 4096 tile 128x256 pass 16 rotate
  return
}

// CHECK-LABEL: func.func @tails
func.func @tails(%ring: !ring, %map: !llvm.ptr, %rows: !hopper.gathered<128x64xbf16>, %position: i32, %live: i32, %keep: i1) {
  // CHECK: hopper.write_note %{{.*}}[%{{.*}}] %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : !hopper.ring
  hopper.write_note %ring[%position] %live, %live, %live, %live : !ring
  // CHECK: hopper.expect %{{.*}}[%{{.*}}] tiles [] : !hopper.ring
  hopper.expect %ring[%position] tiles [] : !ring
  // CHECK: hopper.expect %{{.*}}[%{{.*}}] tiles [1] rows %{{.*}} : !hopper.ring
  hopper.expect %ring[%position] tiles [1] rows %live : !ring
  // CHECK: hopper.tma_load %{{.*}}[%{{.*}}] tile 0 first %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}] : !hopper.ring
  hopper.tma_load %ring[%position] tile 0 first %live, %map[%live, %live] : !ring
  // CHECK: hopper.tma_load %{{.*}}[%{{.*}}] tile 1, %{{.*}}[%{{.*}}, %{{.*}}] cluster 2 : !hopper.ring
  hopper.tma_load %ring[%position] tile 1, %map[%live, %live] cluster 2 : !ring
  // CHECK: hopper.release %{{.*}}[%{{.*}}] cluster 2 : !hopper.ring
  hopper.release %ring[%position] cluster 2 : !ring
  // CHECK: hopper.release %{{.*}}[%{{.*}}] when %{{.*}} : !hopper.ring
  hopper.release %ring[%position] when %keep : !ring
  // CHECK: hopper.gather_load {{.*}} of 4096 live %{{.*}} : !hopper.ring
  hopper.gather_load %ring[%position] tile 0, %rows[%live] of 4096 live %live : !ring, !hopper.gathered<128x64xbf16>
  // CHECK: %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} = hopper.read_note %{{.*}}[%{{.*}}] : !hopper.ring
  %a, %b, %c, %d = hopper.read_note %ring[%position] : !ring
  // CHECK: hopper.next_tile {{.*}} tile 128x256 pass 16 rotate equal 8
  %valid, %e, %f, %row, %end, %column = hopper.next_tile %map, %a from %b, %c
      experts 8 columns 4096 tile 128x256 pass 16 rotate equal 8
  return
}

// CHECK-LABEL: func.func @pieces
func.func @pieces(%whole: !hopper.fragment<64x96>, %out: !hopper.staging<2, <192x32xbf16>>, %map: !llvm.ptr, %i: i32) -> !hopper.fragment<64x112> {
  // CHECK: %[[PART:.*]] = hopper.take_columns %{{.*}} from 32 : !hopper.fragment<64x96> -> !hopper.fragment<64x16>
  %part = hopper.take_columns %whole from 32 : !hopper.fragment<64x96> -> !hopper.fragment<64x16>
  %values = hopper.epilogue %part pair rows {
  ^bb0(%gate: f32, %up: f32):
    %product = arith.mulf %gate, %up : f32
    hopper.yield %product
  } : (!hopper.fragment<64x16>) -> !hopper.fragment<32x16>
  // CHECK: %[[PACKED:.*]] = hopper.pack_over %{{.*}}, %[[PART]] : !hopper.fragment<32x16> over !hopper.fragment<64x16>
  %packed = hopper.pack_over %values, %part : !hopper.fragment<32x16> over !hopper.fragment<64x16>
  // CHECK: hopper.acquire_staging %[[OUT:.*]] : !hopper.staging<2, <192x32xbf16>>
  hopper.acquire_staging %out : !hopper.staging<2, <192x32xbf16>>
  // CHECK: hopper.write_staging %[[PACKED]], %[[OUT]][1] from 32 : !hopper.fragment<64x16>, !hopper.staging<2, <192x32xbf16>>
  hopper.write_staging %packed, %out[1] from 32 : !hopper.fragment<64x16>, !hopper.staging<2, <192x32xbf16>>
  // CHECK: hopper.send_staging %[[OUT]] boxes 2, %{{.*}}[%{{.*}}, %{{.*}}] rows %{{.*}} : !hopper.staging<2, <192x32xbf16>>
  hopper.send_staging %out boxes 2, %map[%i, %i] rows %i : !hopper.staging<2, <192x32xbf16>>
  // CHECK: hopper.join_columns %{{.*}}, %[[PACKED]] : !hopper.fragment<64x96>, !hopper.fragment<64x16> -> !hopper.fragment<64x112>
  %joined = hopper.join_columns %whole, %packed : !hopper.fragment<64x96>, !hopper.fragment<64x16> -> !hopper.fragment<64x112>
  return %joined : !hopper.fragment<64x112>
}

// CHECK-LABEL: func.func @quantized_operands
func.func @quantized_operands(%ring: !hopper.ring<3, <128x128xf8E4M3FN>, <256x128xf8E4M3FN>>, %map: !llvm.ptr, %i: i32, %keep: i1,
                              %w: f32, %out: !hopper.staging<1, <64x64xbf16>>) {
  // CHECK: %[[ZERO:.*]] = hopper.zero_fragment : !hopper.fragment<64x128>
  %zero = hopper.zero_fragment : !hopper.fragment<64x128>
  // CHECK: %[[OLD:.*]] = hopper.mma_resume %[[ZERO]] : !hopper.fragment<64x128> -> !hopper.acc<64x128>
  %old = hopper.mma_resume %zero : !hopper.fragment<64x128> -> !hopper.acc<64x128>
  // CHECK: %[[ACC:.*]] = hopper.mma %{{.*}} lhs 0 from %{{.*}} rhs 1 first 128 into %[[OLD]] zero unless %{{.*}} : {{.*}} -> !hopper.acc<64x128>
  %acc = hopper.mma %ring[%i] lhs 0 from %i rhs 1 first 128 into %old zero unless %keep
      : !hopper.ring<3, <128x128xf8E4M3FN>, <256x128xf8E4M3FN>> -> !hopper.acc<64x128>
  // CHECK: %[[PART:.*]] = hopper.mma %{{.*}} lhs 0 from %{{.*}} rhs 1 columns 96 step %{{.*}} group 2 into %[[ACC]] : {{.*}} -> !hopper.acc<64x128>
  %part = hopper.mma %ring[%i] lhs 0 from %i rhs 1 columns 96 step %i group 2 into %acc
      : !hopper.ring<3, <128x128xf8E4M3FN>, <256x128xf8E4M3FN>> -> !hopper.acc<64x128>
  // CHECK: %[[X:.*]]:2 = hopper.mma_wait %[[PART]], %[[OLD]] : !hopper.acc<64x128>, !hopper.acc<64x128> -> !hopper.fragment<64x128>, !hopper.fragment<64x128>
  %x, %z = hopper.mma_wait %part, %old : !hopper.acc<64x128>, !hopper.acc<64x128> -> !hopper.fragment<64x128>, !hopper.fragment<64x128>
  %tokens = hopper.load_slice %map[%i] below %i : !hopper.slice<rows, 64x128>
  // CHECK: %[[UNIT:.*]] = hopper.scale_slice %{{.*}} by %{{.*}} : !hopper.slice<rows, 64x128>
  %unit = hopper.scale_slice %tokens by %w : !hopper.slice<rows, 64x128>
  // CHECK: %[[SUM:.*]] = hopper.promote %[[X]]#0 by %[[UNIT]], %[[UNIT]] alternate columns into %[[ZERO]]
  %sum = hopper.promote %x by %unit, %unit alternate columns into %zero
      : !hopper.fragment<64x128>, !hopper.slice<rows, 64x128>, !hopper.slice<rows, 64x128> into !hopper.fragment<64x128>
  // CHECK: %[[NEXT:.*]] = hopper.rescale %[[SUM]] from %[[UNIT]] to %[[UNIT]] :
  %next = hopper.rescale %sum from %unit to %unit : !hopper.fragment<64x128>, !hopper.slice<rows, 64x128> to !hopper.slice<rows, 64x128>
  // CHECK: %[[Y:.*]] = hopper.rescale %[[NEXT]] from %[[UNIT]] :
  %y = hopper.rescale %next from %unit : !hopper.fragment<64x128>, !hopper.slice<rows, 64x128>
  // CHECK: hopper.store_quantized %[[Y]], %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}] rows %{{.*}} of 2048 scales %{{.*}} pitch %{{.*}}
  hopper.store_quantized %y, %out, %map[%i, %i] rows %i of 2048 scales %map pitch %i
      : !hopper.fragment<64x128>, !hopper.staging<1, <64x64xbf16>>
  return
}

// CHECK-LABEL: func.func @shared_tiles
func.func @shared_tiles(%offsets: !llvm.ptr, %state: !llvm.ptr, %parts: !llvm.ptr, %values: !hopper.fragment<64x32>) {
  // CHECK: %[[TILES:.*]] = hopper.count_tiles %{{.*}} experts 8 columns 4096 tile 32x128
  %tiles = hopper.count_tiles %offsets experts 8 columns 4096 tile 32x128
  // CHECK: %[[NUMBER:.*]] = hopper.draw_ticket %{{.*}}
  %number = hopper.draw_ticket %state
  // CHECK: hopper.store_part %{{.*}}, %{{.*}}[%[[NUMBER]]] : !hopper.fragment<64x32>
  hopper.store_part %values, %parts[%number] : !hopper.fragment<64x32>
  // CHECK: hopper.arrive_part %{{.*}}[%[[TILES]]] of 4
  %last = hopper.arrive_part %state[%tiles] of 4
  // CHECK: hopper.sum_parts %{{.*}}[%[[NUMBER]]] count 4 : !hopper.fragment<64x32>
  %sum = hopper.sum_parts %parts[%number] count 4 : !hopper.fragment<64x32>
  return
}

// CHECK-LABEL: func.func @rows_that_go_elsewhere
func.func @rows_that_go_elsewhere(%shared: !llvm.ptr<3>, %values: !hopper.fragment<64x256>, %out: !hopper.staging<4, <64x64xbf16>>,
                                  %tall: !hopper.staging<2, <192x64xbf16>>, %index: !llvm.ptr, %y: !llvm.ptr, %i: i32) {
  // CHECK: %[[FACTORS:.*]] = hopper.factors %{{.*}} at 65536 : !hopper.factors<3, 160>
  %made = hopper.factors %shared at 65536 : !hopper.factors<3, 160>
  // CHECK: hopper.write_factor %{{.*}}, %[[FACTORS]][%{{.*}}] at %{{.*}} : !hopper.factors<3, 160>
  %word = arith.constant 1.0 : f32
  hopper.write_factor %word, %made[%i] at %i : !hopper.factors<3, 160>
  // CHECK: %[[GATE:.*]] = hopper.read_factor %[[FACTORS]][%{{.*}}] of %{{.*}} : !hopper.factors<3, 160>
  %gate = hopper.read_factor %made[%i] of %i : !hopper.factors<3, 160>
  // CHECK: hopper.apply_factors %{{.*}}, %[[FACTORS]][%{{.*}}] by %[[GATE]], %[[GATE]] : !hopper.fragment<64x128>, !hopper.factors<3, 160>
  %sums = hopper.zero_fragment : !hopper.fragment<64x128>
  %scaled = hopper.apply_factors %sums, %made[%i] by %gate, %gate : !hopper.fragment<64x128>, !hopper.factors<3, 160>
  // CHECK: %[[PLACES:.*]] = hopper.places %{{.*}} at 65536 of %{{.*}} : !hopper.places<64>
  %places = hopper.places %shared at 65536 of %i : !hopper.places<64>
  // CHECK: hopper.ask_places %[[PLACES]], %{{.*}}[%{{.*}}] rows %{{.*}} : !hopper.places<64>
  hopper.ask_places %places, %index[%i] rows %i : !hopper.places<64>
  // CHECK: hopper.ask_factors %[[PLACES]], %{{.*}} rows %{{.*}} : !hopper.places<64>
  hopper.ask_factors %places, %index rows %i : !hopper.places<64>
  // CHECK: hopper.scatter_tile %{{.*}}, %{{.*}}, %[[PLACES]], %{{.*}}[%{{.*}}] rows %{{.*}} of 4096 scaled : !hopper.fragment<64x256>, !hopper.staging<4, <64x64xbf16>>, !hopper.places<64>
  hopper.scatter_tile %values, %out, %places, %y[%i] rows %i of 4096 scaled
      : !hopper.fragment<64x256>, !hopper.staging<4, <64x64xbf16>>, !hopper.places<64>
  %more = hopper.places %shared at 65536 of %i : !hopper.places<192>
  // CHECK: hopper.scatter_staging %{{.*}} boxes 2, %{{.*}}, %{{.*}}[%{{.*}}] rows %{{.*}} of 208 : !hopper.staging<2, <192x64xbf16>>, !hopper.places<192>
  hopper.scatter_staging %tall boxes 2, %more, %y[%i] rows %i of 208 : !hopper.staging<2, <192x64xbf16>>, !hopper.places<192>
  return
}
