//! Names as people in the province bear them. All persons are made up.

use super::Roll;

const SURNAMES: &[&str] = &[
    "陈", "王", "李", "张", "周", "林", "吴", "徐", "朱", "胡", "叶", "卢", "吕", "应", "施", "樊", "麻", "潘", "赵",
    "沈", "章", "蒋", "杜", "杨", "刘", "项", "丁", "郑", "虞", "陶", "蓝", "雷", "钭", "羊", "曹", "梅",
];
const MALE: &[&str] = &[
    "建国", "志强", "伟民", "国平", "金水", "永福", "根土", "樟法", "海军", "文斌", "子轩", "浩然", "宇航", "俊杰",
    "旭东", "明华", "土根", "岳明", "炳南", "献忠", "春林", "振宇", "一鸣", "思远",
];
const FEMALE: &[&str] = &[
    "秀英", "美兰", "玉珍", "彩云", "月娥", "丽君", "爱菊", "水仙", "春燕", "雅琴", "梓涵", "欣怡", "诗琪", "佳宁",
    "晓燕", "桂香", "金凤", "素贞", "杏花", "伟芬", "慧敏", "若彤", "思雨", "静怡",
];

pub fn surname(roll: &mut Roll) -> &'static str {
    roll.pick(SURNAMES)
}

pub fn given(roll: &mut Roll, male: bool) -> &'static str {
    roll.pick(if male { MALE } else { FEMALE })
}

pub fn full(roll: &mut Roll, male: bool) -> String {
    format!("{}{}", surname(roll), given(roll, male))
}
