using System.Numerics;
using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary><c>cp.async</c>: copies from global to shared memory that are waited for later.</summary>
internal static unsafe class Copies
{
    public static Execute? Decode(PtxDecoder d)
    {
        if (d.Name != "cp")
        {
            return null;
        }

        switch (d.Type)
        {
            case "commit_group":
                return static (warp, mask) => warp.Copies.Commit(mask);
            case "wait_all":
                return static (warp, mask) => warp.Copies.Wait(mask, -1);
            case "wait_group":
                var left = d.Immediate(0);
                return (warp, mask) => warp.Copies.Wait(mask, left);
        }

        d.Allow("async", "ca", "cg", "shared", "shared::cta", "global", "L2::64B", "L2::128B", "L2::256B");
        if (!d.Has("async") || d.Count is not (3 or 4))
        {
            throw d.Fail("this copy is not interpreted");
        }

        var (target, source, bytes) = (d.Address(0), d.Address(1), d.Immediate(2));
        var size = d.Count == 4 ? d.Source(3, 32) : (Slot?)null;
        return bytes is 16 || (bytes is 4 or 8 && d.Has("ca")) ? Copy(target, source, bytes, size) : throw d.Fail($"{bytes} bytes cannot be copied");
    }

    /// <param name="target">In shared memory.</param>
    /// <param name="source">In global memory.</param>
    /// <param name="bytes">Bytes that are written.</param>
    /// <param name="size">Bytes that are read; the others are 0.</param>
    private static Execute Copy((Slot Base, long Offset) target, (Slot Base, long Offset) source, int bytes, Slot? size) => (warp, mask) =>
    {
        warp.Require(target.Base, mask, "the target");
        Span<ulong> addresses = stackalloc ulong[Warp.Size];
        for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
        {
            var lane = BitOperations.TrailingZeroCount(lanes);
            var read = bytes;
            if (size is { } register)
            {
                warp.Require(register, 1u << lane, "the size");
                read = warp.Get<uint>(register, lane) is var wanted && wanted <= bytes ? (int)wanted
                    : throw new PtxException($"{wanted} bytes are read for {bytes}");
            }

            var data = Vector128<byte>.Zero;
            if (read > 0)
            {
                warp.Require(source.Base, 1u << lane, "the source");
                var at = warp.Block.Global.At(Memory.Address(warp, source, lane), read, bytes);
                warp.Block.Accesses.Read((ulong)at, read);
                new ReadOnlySpan<byte>(at, read).CopyTo(new Span<byte>(&data, sizeof(Vector128<byte>)));
            }

            addresses[lane] = Memory.SharedAddress(warp, target, lane);
            warp.Copies.Add(lane, addresses[lane], bytes, data, warp.Block.Landing);
        }

        warp.Block.Shared.CountBanks(SharedAccess.Copy, addresses, mask, bytes);
    };
}
