using System.Reflection;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// A kernel's arguments as ILGPU hands them to a device: fields one after the other, each aligned to its size, and nested structs to their largest
/// field. A view is an address and a length.
/// </summary>
internal sealed class PtxArguments
{
    private readonly List<byte> bytes = [];
    private readonly List<(nint Start, long Bytes)> buffers = [];

    private PtxArguments(object arguments)
    {
        Add(arguments);
    }

    public byte[] Bytes => [.. bytes];

    /// <summary>What the views cover.</summary>
    public IReadOnlyList<(nint Start, long Bytes)> Buffers => buffers;

    public static PtxArguments Of<T>(T arguments) where T : struct => new(arguments);

    private void Add(object value)
    {
        switch (value)
        {
            case IContiguousArrayView view:
                var start = view.Length > 0 ? view.Buffer.NativePtr + (nint)view.IndexInBytes : 0;
                buffers.Add((start, view.LengthInBytes));
                Add(8, BitConverter.GetBytes((long)start));
                Add(8, BitConverter.GetBytes(view.Length));
                break;
            case bool flag:
                Add(1, [flag ? (byte)1 : (byte)0]);
                break;
            case Enum:
                Add(Convert.ChangeType(value, Enum.GetUnderlyingType(value.GetType())));
                break;
            case ValueType when value.GetType().IsPrimitive:
                var primitive = new byte[Marshal.SizeOf(value)];
                unsafe
                {
                    fixed (byte* pointer = primitive)
                    {
                        Marshal.StructureToPtr(value, (nint)pointer, false);
                    }
                }

                Add(primitive.Length, primitive);
                break;
            default:
                Align(AlignmentOf(value.GetType()));
                foreach (var field in Fields(value.GetType()))
                {
                    Add(field.GetValue(value)!);
                }

                Align(AlignmentOf(value.GetType()));
                break;
        }
    }

    private void Add(int alignment, byte[] value)
    {
        Align(alignment);
        bytes.AddRange(value);
    }

    private void Align(int alignment)
    {
        while (bytes.Count % alignment != 0)
        {
            bytes.Add(0);
        }
    }

    private static int AlignmentOf(Type type) => typeof(IContiguousArrayView).IsAssignableFrom(type) ? 8
        : type == typeof(bool) ? 1
        : type.IsEnum ? AlignmentOf(Enum.GetUnderlyingType(type))
        : type.IsPrimitive ? Marshal.SizeOf(type)
        : Fields(type).Select(f => AlignmentOf(f.FieldType)).DefaultIfEmpty(1).Max();

    private static IEnumerable<FieldInfo> Fields(Type type) =>
        type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).OrderBy(f => f.MetadataToken);
}
