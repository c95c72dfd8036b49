namespace StableDiffusion.Ilgpu.Weights;

/// <summary>The checksum of zip archives: CRC-32 with the reflected polynomial 0xEDB88320.</summary>
internal static class Crc32
{
    private static readonly uint[] Table = [.. Enumerable.Range(0, 256).Select(i => EntryOf((uint)i))];

    public static uint Of(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var value in bytes)
        {
            crc = Table[(byte)crc ^ value] ^ (crc >> 8);
        }

        return ~crc;
    }

    private static uint EntryOf(uint value)
    {
        for (var bit = 0; bit < 8; bit++)
        {
            value = (value & 1) != 0 ? 0xEDB88320 ^ (value >> 1) : value >> 1;
        }

        return value;
    }
}
