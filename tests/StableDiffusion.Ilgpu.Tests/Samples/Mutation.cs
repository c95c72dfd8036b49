using System.Buffers.Binary;

namespace StableDiffusion.Ilgpu.Tests.Samples;

/// <summary>Makes inputs that are nearly valid out of valid ones; the same ones for the same number.</summary>
internal static class Mutation
{
    private static readonly ulong[] Numbers =
        [0, 1, 2, 4, 7, 8, 255, 256, 65535, 65536, int.MaxValue, 0x80000000, uint.MaxValue, long.MaxValue, 0x8000000000000000, ulong.MaxValue];

    /// <param name="reader">Whose samples and tokens are used.</param>
    /// <param name="seed">Of the whole run.</param>
    /// <param name="number">Of the input.</param>
    public static byte[] Make(FileReader reader, int seed, long number)
    {
        var random = new Random(unchecked((int)(((uint)seed * 0x9E3779B1) + ((uint)number * 0x85EBCA77))));
        var bytes = new List<byte>(reader.Samples[random.Next(reader.Samples.Count)]);
        do
        {
            Change(bytes, reader, random);
        }
        while (random.Next(2) > 0);

        return [.. bytes];
    }

    private static void Change(List<byte> bytes, FileReader reader, Random random)
    {
        var at = random.Next(bytes.Count + 1);
        var length = Math.Min(1 + random.Next(random.Next(2) == 0 ? 4 : 64), bytes.Count - at);
        switch (random.Next(10))
        {
            case 0 when at < bytes.Count:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1 when at < bytes.Count:
                bytes[at] = (byte)random.Next(256);
                break;
            case 2:
                Overwrite(bytes, at, random);
                break;
            case 3:
                bytes.RemoveRange(at, length);
                break;
            case 4:
                bytes.InsertRange(at, bytes.GetRange(at, length));
                break;
            case 5:
                bytes.InsertRange(random.Next(bytes.Count + 1), bytes.GetRange(at, length));
                break;
            case 6 when random.Next(4) == 0:
                bytes.RemoveRange(at, bytes.Count - at);
                break;
            case 7:
                var other = reader.Samples[random.Next(reader.Samples.Count)];
                var from = random.Next(other.Length + 1);
                bytes.InsertRange(at, other.Skip(from).Take(random.Next(64)));
                break;
            default:
                var token = reader.Tokens[random.Next(reader.Tokens.Count)];
                bytes.RemoveRange(at, random.Next(2) == 0 ? Math.Min(token.Length, bytes.Count - at) : 0);
                bytes.InsertRange(at, Enumerable.Repeat(token, random.Next(16) == 0 ? random.Next(200) : 1).SelectMany(t => t));
                break;
        }
    }

    /// <summary>A number at a place, of one to eight bytes.</summary>
    private static void Overwrite(List<byte> bytes, int at, Random random)
    {
        Span<byte> number = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(number, Numbers[random.Next(Numbers.Length)]);
        var size = 1 << random.Next(4);
        for (var i = 0; i < size && at + i < bytes.Count; i++)
        {
            bytes[at + i] = number[i];
        }
    }
}
