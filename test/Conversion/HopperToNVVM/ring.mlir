// RUN: moe-opt %s --convert-hopper-to-nvvm --canonicalize --cse --split-input-file | FileCheck %s

// Four stages: position mod 4 and bit 2 of it; tiles of 16384 bytes, barriers behind them.
!ring = !hopper.ring<4, <128x64xbf16>>

// CHECK-LABEL: func.func @acquire_waits_for_the_other_parity
// CHECK-SAME: (%[[SHARED:.*]]: !llvm.ptr<3>, %[[POSITION:.*]]: i32)
func.func @acquire_waits_for_the_other_parity(%shared: !llvm.ptr<3>, %position: i32) {
  %ring = hopper.ring %shared at 1024 : !ring
  // CHECK-DAG: %[[RING:.*]] = llvm.getelementptr %[[SHARED]][1024]
  // CHECK-DAG: %[[C1:.*]] = arith.constant 1 : i32
  // CHECK-DAG: %[[C4:.*]] = arith.constant 4 : i32
  // CHECK-DAG: %[[EMPTY:.*]] = arith.constant 65568 : i32
  // CHECK: %[[STAGE:.*]] = arith.remui %[[POSITION]], %[[C4]]
  // CHECK: %[[PASS:.*]] = arith.divui %[[POSITION]], %[[C4]]
  // CHECK: %[[PARITY:.*]] = arith.andi %[[PASS]], %[[C1]]
  // CHECK: %[[OTHER:.*]] = arith.xori %[[PARITY]], %[[C1]]
  // CHECK: arith.addi %{{.*}}, %[[EMPTY]]
  // CHECK: nvvm.mbarrier.try_wait.parity %{{.*}}, %[[OTHER]], %{{.*}} : !llvm.ptr<3>, i32, i32
  hopper.acquire %ring[%position] : !ring
  return
}

// -----

!ring = !hopper.ring<4, <128x64xbf16>, <256x64xbf16>>

// CHECK-LABEL: func.func @barriers_count_arrivals
func.func @barriers_count_arrivals(%ring: !ring) {
  // CHECK-DAG: %[[FILL:.*]] = arith.constant 129 : i32
  // CHECK-DAG: %[[DRAIN:.*]] = arith.constant 8 : i32
  // CHECK-COUNT-4: nvvm.mbarrier.init %{{.*}}, %[[FILL]]
  // CHECK-NOT: nvvm.mbarrier.init %{{.*}}, %[[FILL]]
  // CHECK: nvvm.fence.mbarrier.init
  hopper.init_ring %ring fill 129 drain 8 : !ring
  return
}

// -----

!ring = !hopper.ring<4, <128x64xbf16>, <256x64xbf16>>

// CHECK-LABEL: func.func @bytes_follow_from_the_tiles
func.func @bytes_follow_from_the_tiles(%ring: !ring, %position: i32) {
  // CHECK-DAG: %[[BOTH:.*]] = arith.constant 49152 : i32
  // CHECK-DAG: %[[SECOND:.*]] = arith.constant 32768 : i32
  // CHECK: nvvm.mbarrier.arrive.expect_tx %{{.*}}, %[[BOTH]]
  hopper.expect %ring[%position] tiles [0, 1] : !ring
  // CHECK: nvvm.mbarrier.arrive.expect_tx %{{.*}}, %[[SECOND]]
  hopper.expect %ring[%position] tiles [1] : !ring
  return
}

// -----

!ring = !hopper.ring<4, <128x64xbf16>, <256x64xbf16>>

// CHECK-LABEL: func.func @tma_goes_behind_the_first_operand
// CHECK-SAME: (%[[RING:.*]]: !llvm.ptr<3>, %[[MAP:.*]]: !llvm.ptr, %[[POSITION:.*]]: i32, %[[COLUMN:.*]]: i32, %[[ROW:.*]]: i32)
func.func @tma_goes_behind_the_first_operand(%ring: !ring, %map: !llvm.ptr, %position: i32,
                                             %column: i32, %row: i32) {
  // CHECK-DAG: %[[BYTES:.*]] = arith.constant 32768 : i32
  // CHECK-DAG: %[[FIRST:.*]] = arith.constant 65536 : i32
  // CHECK: %[[AT:.*]] = arith.muli %{{.*}}, %[[BYTES]]
  // CHECK: arith.addi %[[AT]], %[[FIRST]]
  // CHECK: %[[TARGET:.*]] = llvm.addrspacecast %{{.*}} : !llvm.ptr<3> to !llvm.ptr<7>
  // CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %[[TARGET]], %[[MAP]], %{{.*}}, box[%[[COLUMN]], %[[ROW]]]
  hopper.tma_load %ring[%position] tile 1, %map[%column, %row] : !ring
  return
}

// CHECK-LABEL: func.func @blocks_have_four_coordinates
// CHECK-SAME: %[[COLUMN:[a-z0-9]*]]: i32, %[[ROW:[a-z0-9]*]]: i32)
func.func @blocks_have_four_coordinates(%ring: !ring, %map: !llvm.ptr, %position: i32,
                                        %column: i32, %row: i32) {
  // CHECK: %[[BLOCK:.*]] = arith.shrui %[[COLUMN]]
  // CHECK: %[[EIGHT:.*]] = arith.shrui %[[ROW]]
  // CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global {{.*}} box[%{{.*}}, %{{.*}}, %[[BLOCK]], %[[EIGHT]]]
  hopper.tma_load %ring[%position] tile 1, %map[%column, %row] blocked : !ring
  return
}

// -----

!ring = !hopper.ring<4, <32x64xbf16>, <128x64xbf16>>

// CHECK-LABEL: func.func @gathered_rows_stop_at_the_end
// CHECK-SAME: %[[END:[a-z0-9]*]]: i32)
func.func @gathered_rows_stop_at_the_end(%ring: !ring, %tokens: !llvm.ptr, %index: !llvm.ptr,
                                         %position: i32, %column: i32, %row: i32, %end: i32) {
  // CHECK-DAG: %[[PITCH:.*]] = arith.constant 8192 : i64
  // CHECK: %[[LAST:.*]] = arith.subi %[[END]], %{{.*}} : i32
  // CHECK-COUNT-2: arith.minsi %{{.*}}, %[[LAST]]
  %rows = hopper.gather_rows %tokens[%index] from %row below %end pitch 4096 : !hopper.gathered<32x64xbf16>
  // CHECK-COUNT-2: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  hopper.gather_load %ring[%position] tile 0, %rows[%column] of 4096 : !ring, !hopper.gathered<32x64xbf16>
  // CHECK: nvvm.cp.async.mbarrier.arrive %{{.*}} {noinc = true}
  hopper.commit %ring[%position] : !ring
  return
}

// -----

!ring = !hopper.ring<4, <16x64xbf16>, <128x64xbf16>>

// CHECK-LABEL: func.func @columns_past_the_end_become_zero
func.func @columns_past_the_end_become_zero(%ring: !ring, %rows: !hopper.gathered<16x64xbf16>,
                                            %position: i32, %column: i32) {
  // CHECK-DAG: %[[COLUMNS:.*]] = arith.constant 104 : i32
  // CHECK: %[[INSIDE:.*]] = arith.cmpi slt, %{{.*}}, %[[COLUMNS]]
  // CHECK: %[[SIZE:.*]] = arith.select %[[INSIDE]], %{{.*}}, %{{.*}} : i32
  // CHECK: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache = cg, %[[SIZE]]
  hopper.gather_load %ring[%position] tile 0, %rows[%column] of 104 : !ring, !hopper.gathered<16x64xbf16>
  return
}

// -----

!ring = !hopper.ring<4, <128x64xbf16>>

// CHECK-LABEL: func.func @gathered_stage_needs_a_proxy_fence
func.func @gathered_stage_needs_a_proxy_fence(%ring: !ring, %position: i32) {
  // CHECK: nvvm.mbarrier.try_wait.parity
  // CHECK-NOT: nvvm.fence.proxy
  hopper.wait_full %ring[%position] : !ring
  // CHECK: nvvm.mbarrier.try_wait.parity
  // CHECK-NEXT: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  hopper.wait_full %ring[%position] gathered : !ring
  return
}

// -----

!ring = !hopper.ring<4, <128x64xbf16>>

// CHECK-LABEL: func.func @one_lane_per_warp_releases
func.func @one_lane_per_warp_releases(%ring: !ring, %position: i32) {
  // CHECK-DAG: %[[ZERO:.*]] = arith.constant 0 : i32
  // CHECK-DAG: %[[MASK:.*]] = arith.constant 31 : i32
  // All lanes have seen the stage before one of them gives it back.
  // CHECK: nvvm.bar.warp.sync
  // CHECK: %[[LANE:.*]] = arith.andi %{{.*}}, %[[MASK]]
  // CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[LANE]], %[[ZERO]]
  // CHECK: scf.if %[[FIRST]] {
  // CHECK-NEXT: nvvm.mbarrier.arrive %{{.*}} : !llvm.ptr<3>
  hopper.release %ring[%position] : !ring
  return
}

// -----

!ring = !hopper.ring<4, <128x64xbf16>, <256x64xbf16>>

// A box of the tile: 128 bytes a row into the stage; the rows announced are of the first operand.
// CHECK-LABEL: func.func @boxes_of_live_rows
// CHECK-SAME: (%[[RING:.*]]: !llvm.ptr<3>, %[[MAP:.*]]: !llvm.ptr, %[[POSITION:.*]]: i32, %[[COLUMN:.*]]: i32, %[[ROW:.*]]: i32, %[[FIRST:.*]]: i32)
func.func @boxes_of_live_rows(%ring: !ring, %map: !llvm.ptr, %position: i32, %column: i32, %row: i32, %first: i32) {
  // CHECK-DAG: %[[PITCH:.*]] = arith.constant 128 : i32
  // CHECK-DAG: %[[WEIGHTS:.*]] = arith.constant 32768 : i32
  // CHECK: %[[BYTES:.*]] = arith.muli %[[FIRST]], %[[PITCH]]
  // CHECK: %[[ALL:.*]] = arith.addi %[[BYTES]], %[[WEIGHTS]]
  // CHECK: nvvm.mbarrier.arrive.expect_tx %{{.*}}, %[[ALL]]
  hopper.expect %ring[%position] tiles [1] rows %first : !ring
  // CHECK: %[[AT:.*]] = llvm.getelementptr %{{.*}}[%[[BYTES]]]
  // CHECK: %[[TARGET:.*]] = llvm.addrspacecast %[[AT]]
  // CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %[[TARGET]], %[[MAP]], %{{.*}}, box[%[[COLUMN]], %[[ROW]]]
  hopper.tma_load %ring[%position] tile 0 first %first, %map[%column, %row] : !ring
  return
}

// -----

!ring = !hopper.ring<4, <128x64xbf16>, <256x64xbf16>>

// Behind 4 x 48 KiB of tiles and 8 barriers, 16 bytes each.
// CHECK-LABEL: func.func @notes_stand_behind_the_barriers
func.func @notes_stand_behind_the_barriers(%ring: !ring, %position: i32, %x: i32) -> i32 {
  // CHECK-DAG: %[[NOTES:.*]] = arith.constant 196672 : i32
  // CHECK: %[[AT:.*]] = arith.addi %{{.*}}, %[[NOTES]]
  // CHECK: %[[NOTE:.*]] = llvm.getelementptr %{{.*}}[%[[AT]]]
  // CHECK: llvm.store %{{.*}}, %[[NOTE]] {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<3>
  hopper.write_note %ring[%position] %x, %x, %x, %x : !ring
  // CHECK: llvm.load %[[NOTE]] {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xi32>
  %a, %b, %c, %d = hopper.read_note %ring[%position] : !ring
  return %d : i32
}

// -----

!ring = !hopper.ring<4, <128x64xbf16>>

// Blocks of 16 rows from the last live one on are left out.
// CHECK-LABEL: func.func @dead_rows_are_not_gathered
func.func @dead_rows_are_not_gathered(%ring: !ring, %rows: !hopper.gathered<128x64xbf16>, %position: i32, %live: i32) {
  // CHECK-COUNT-8: scf.if
  // CHECK-NOT: scf.if
  hopper.gather_load %ring[%position] tile 0, %rows[%position] of 4096 live %live : !ring, !hopper.gathered<128x64xbf16>
  return
}

// -----

!ring = !hopper.ring<4, <128x64xbf16>, <256x64xbf16>>

// CHECK-LABEL: func.func @clusters_share_stages
func.func @clusters_share_stages(%ring: !ring, %map: !llvm.ptr, %position: i32) {
  // CHECK-DAG: %[[BOTH:.*]] = llvm.mlir.constant(3 : i16) : i16
  // CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global {{.*}} multicast_mask = %[[BOTH]]
  hopper.tma_load %ring[%position] tile 1, %map[%position, %position] cluster 2 : !ring
  // CHECK: nvvm.bar.warp.sync
  // CHECK: scf.if
  // CHECK: %[[REMOTE:.*]] = nvvm.mapa
  // CHECK: nvvm.mbarrier.arrive %[[REMOTE]] {relaxed = true, scope = #nvvm.mem_scope<cluster>}
  hopper.release %ring[%position] cluster 2 : !ring
  return
}
