namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>What lanes of a warp tell each other: <c>shfl</c>, <c>vote</c>.</summary>
internal static unsafe class Exchanges
{
    public static Execute Decode(PtxDecoder d) => d.Name switch
    {
        "shfl" => Shuffle(d),
        "vote" => Vote(d),
        _ => Active(d.Target(0, 32)),
    };

    private static Execute Shuffle(PtxDecoder d)
    {
        d.Allow("sync", "bfly", "idx", "up", "down");
        d.Expect(5);
        if (!d.Has("sync") || d.Type != "b32")
        {
            throw d.Fail("only shfl.sync of b32 is interpreted");
        }

        var names = d.Statement.Operands[0].Split('|', StringSplitOptions.TrimEntries);
        var (target, inRange) = (d.Target(names[0], 32), names.Length > 1 ? d.Target(names[1], 1) : (Slot?)null);
        var (value, by, clamp, members) = (d.Source(1, 32), d.Source(2, 32), d.Source(3, 32), d.Source(4, 32));
        var mode = d.Statement.Parts[2];
        return (warp, mask) =>
        {
            Span<uint> values = stackalloc uint[Warp.Size];
            var (defined, valid) = (0u, 0u);
            for (var lane = 0; lane < Warp.Size; lane++)
            {
                if ((mask >> lane & 1) == 0)
                {
                    continue;
                }

                if ((warp.Get<uint>(members, lane) >> lane & 1) == 0)
                {
                    throw new PtxException($"lane {lane} is not in its own member mask");
                }

                var (step, c) = ((int)(warp.Get<uint>(by, lane) & 31), (int)warp.Get<uint>(clamp, lane));
                var segment = c >> 8 & 31;
                var (lowest, highest) = (lane & segment, (lane & segment) | (c & 31 & ~segment));
                var source = mode switch
                {
                    "up" => lane - step,
                    "down" => lane + step,
                    "bfly" => lane ^ step,
                    _ => lowest | (step & ~segment),
                };
                var within = mode == "up" ? source >= highest : source <= highest;
                source = within ? source : lane;
                values[lane] = warp.Get<uint>(value, source);
                valid |= within ? 1u << lane : 0;
                defined |= (mask >> source & 1) != 0 && (warp.Defined[value.Index] >> source & 1) != 0 ? 1u << lane : 0;
            }

            for (var lane = 0; lane < Warp.Size; lane++)
            {
                if ((mask >> lane & 1) != 0)
                {
                    Warp.Set(warp.Registers + target.Offset, lane, values[lane]);
                }
            }

            warp.Define(target, mask, defined);
            if (inRange is { } predicate)
            {
                warp.Predicate(predicate) = (warp.Predicate(predicate) & ~mask) | valid;
                warp.Define(predicate, mask, mask);
            }
        };
    }

    private static Execute Vote(PtxDecoder d)
    {
        d.Allow("sync", "all", "any", "uni", "ballot");
        d.Expect(3);
        var (mode, negated) = (d.Statement.Parts[2], d.Statement.Operands[1].StartsWith('!'));
        var source = d.Predicate(d.Statement.Operands[1].TrimStart('!'));
        var target = d.Target(0, mode == "ballot" ? 32 : 1);
        return (warp, mask) =>
        {
            var set = mask & (negated ? ~warp.Predicate(source) : warp.Predicate(source));
            var defined = (warp.Defined[source.Index] & mask) == mask ? mask : 0;
            if (mode == "ballot")
            {
                for (var lane = 0; lane < Warp.Size; lane++)
                {
                    if ((mask >> lane & 1) != 0)
                    {
                        Warp.Set(warp.Registers + target.Offset, lane, set);
                    }
                }
            }
            else
            {
                var result = mode switch
                {
                    "all" => set == mask,
                    "any" => set != 0,
                    _ => set == mask || set == 0,
                };
                warp.Predicate(target) = (warp.Predicate(target) & ~mask) | (result ? mask : 0);
            }

            warp.Define(target, mask, defined);
        };
    }

    private static Execute Active(Slot target) => (warp, mask) =>
    {
        for (var lane = 0; lane < Warp.Size; lane++)
        {
            if ((mask >> lane & 1) != 0)
            {
                Warp.Set(warp.Registers + target.Offset, lane, mask);
            }
        }

        warp.Define(target, mask, mask);
    };
}
